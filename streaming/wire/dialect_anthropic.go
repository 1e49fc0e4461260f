// SPDX-License-Identifier: Apache-2.0

package wire

// messagesUsage is a usage object of Anthropic's. Of its iterations only those
// matter that it does not include. Source: Anthropic's API reference.
var messagesUsage = paths{
	"":                            factUsage,
	"input_tokens":                factInput,
	"output_tokens":               factOutputTokens,
	"cache_read_input_tokens":     factCacheRead,
	"cache_creation_input_tokens": factCacheWrite,
	"cache_creation.ephemeral_5m_input_tokens": factCacheWrite5m,
	"cache_creation.ephemeral_1h_input_tokens": factCacheWrite1h,
	"output_tokens_details.thinking_tokens":    factReasoning,
	"server_tool_use.web_search_requests":      factWebSearches,
	"service_tier":                             factServiceTier,
	"cost":                                     factCost, // OpenRouter: USD

	"iterations":                               factAsides,
	"iterations.*":                             factAside,
	"iterations.*.type":                        factAsideType,
	"iterations.*.input_tokens":                factAsideInput,
	"iterations.*.output_tokens":               factAsideOutput,
	"iterations.*.cache_read_input_tokens":     factAsideCacheRead,
	"iterations.*.cache_creation_input_tokens": factAsideCacheWrite,
}

// messagesFacts are all the facts of an answer or event of the Messages API.
var messagesFacts = merge(
	paths{
		"type":              factType,
		"error":             factError,
		"detail":            factComplaint,
		"model":             factModel,
		"message.model":     factModel,
		"stop_reason":       factStop,
		"delta.stop_reason": factStop,

		// The container in which code was run, and the files that it made.
		"container.id":                            factObject,
		"delta.container.id":                      factObject,
		"message.container.id":                    factObject,
		"content.*.content.content.*.file_id":     factObject,
		"content_block.content.content.*.file_id": factObject,
	},
	messagesUsage.under("usage"),
	messagesUsage.under("message.usage"),
	outputs("delta.", "text", "thinking", "partial_json"),
	outputs("content_block.", "text", "thinking"),
)

// dialectMessages is the Messages API. A stream begins with an estimate of the
// usage, which later events overlay with what they know better.
var dialectMessages = Dialect{
	overlay: true,
	totals:  messagesTotals,
	ends:    []string{"message_stop"},
	fails:   []string{"error"},
	asides:  []string{"compaction", "advisor_message"},
	weave:   weaveMessages,
	prefill: prefillMessages,
	rebase:  rebaseMessages,
}.compile(messagesFacts)

// dialectComplete is the API before that, whose events repeat the reason.
var dialectComplete = Dialect{totals: messagesTotals, fails: []string{"error"}}.compile(
	paths{"type": factType, "error": factError, "model": factModel, "stop_reason": factBlock, "completion": factOutput},
)

// dialectCountTokens is Anthropic's counting of tokens. What is counted is
// not used, so there is no usage.
var dialectCountTokens = Dialect{totals: messagesTotals, fails: []string{"error"}}.compile(
	paths{"type": factType, "error": factError},
)

// messagesTotals adds what was read from the cache and written to it to the
// input, which has neither.
func messagesTotals(u Usage) Usage {
	u.inputTotal, u.outputTotal = u.Input+u.CacheRead+u.CacheWrite, u.Output

	return u
}
