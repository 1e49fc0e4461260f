// SPDX-License-Identifier: Apache-2.0

package wire

// cohereUsage is what Cohere states: the tokens of the model, and those that
// it bills.
var cohereUsage = paths{
	"":                           factUsage,
	"tokens.input_tokens":        factInput,
	"tokens.output_tokens":       factOutputTokens,
	"tokens.reasoning_tokens":    factReasoning,
	"cached_tokens":              factCacheRead,
	"billed_units.input_tokens":  factBilledInput,
	"billed_units.output_tokens": factBilledOutput,
	"billed_units.search_units":  factSearchUnits,
}

// dialectCohere is Cohere's API: chat, embed, rerank and what the first
// version had. No answer names a model. Source: Cohere's API reference.
var dialectCohere = Dialect{
	overlay: true,
	totals:  cohereTotals,
	ends:    []string{"message-end", "stream-end"},
	fails:   []string{"error"},
}.compile(
	paths{
		"type":                        factType,
		"event_type":                  factType,
		"is_finished":                 factEnd,
		"error":                       factError,
		"finish_reason":               factStop,
		"delta.finish_reason":         factStop,
		"delta.error":                 factError,
		"response.finish_reason":      factStop,
		"generations.*.finish_reason": factStop,
		"text":                        factOutput,
	},
	cohereUsage.under("usage"),
	cohereUsage.under("delta.usage"),
	cohereUsage.under("meta"),
	cohereUsage.under("response.meta"),
	outputs("delta.message.", "content.text", "content.thinking", "tool_plan", "tool_calls.function"),
)

// cohereTotals takes what is billed where the model's own tokens are unknown.
func cohereTotals(u Usage) Usage {
	if !u.has(factInput) && u.has(factBilledInput) {
		u.state(factInput, u.BilledInput)
	}
	if !u.has(factOutputTokens) && u.has(factBilledOutput) {
		u.state(factOutputTokens, u.BilledOutput)
	}
	u.inputTotal, u.outputTotal = u.Input, u.Output

	return u
}

// dialectOllama is Ollama's own API. A prompt that is still in memory is not
// counted. Source: Ollama's API reference.
var dialectOllama = Dialect{overlay: true, lines: true, totals: plainTotals}.compile(
	paths{
		"model":             factModel,
		"error":             factError,
		"done":              factEnd,
		"done_reason":       factStop,
		"prompt_eval_count": factInput,
		"eval_count":        factOutputTokens,
		"response":          factOutput,
		"thinking":          factOutput,
	},
	outputs("message.", "content", "thinking", "tool_calls.*", "images.*"),
)

// dialectOllamaEmbed is its embeddings.
var dialectOllamaEmbed = Dialect{overlay: true, totals: plainTotals}.compile(
	paths{"model": factModel, "error": factError, "prompt_eval_count": factInput},
)

// dialectTGI is Hugging Face's text generation server, which also speaks
// OpenAI's format where it is asked in its own. Source: its API reference.
var dialectTGI = Dialect{overlay: true, totals: openaiTotals}.compile(
	chatFacts,
	paths{
		"generated_text":           factEnd,
		"details.finish_reason":    factStop,
		"details.input_length":     factInput,
		"details.generated_tokens": factOutputTokens,
		"token.text":               factOutput,
	},
)

// dialectLlama is llama.cpp's own API.
var dialectLlama = Dialect{overlay: true, totals: plainTotals}.compile(
	paths{
		"model":            factModel,
		"error":            factError,
		"content":          factOutput,
		"stop":             factEnd,
		"stop_type":        factStop,
		"tokens_evaluated": factInput,
		"tokens_predicted": factOutputTokens,
	},
)

// dialectTask is what Alibaba makes in the background.
var dialectTask = Dialect{totals: openaiTotals}.compile(paths{"output.task_id": factObject})

// dialectDashScope is Alibaba's own API. Every event states the usage so far.
// An error is a code beside a message. Source: Alibaba's API reference.
var dialectDashScope = Dialect{totals: openaiTotals}.compile(
	paths{
		"code":                           factError,
		"error":                          factError,
		"output.finish_reason":           factBlock,
		"output.text":                    factOutput,
		"output.choices.*":               factChoice,
		"output.choices.*.finish_reason": factFinish,
	},
	openaiUsage.under("usage"),
	outputs("output.choices.*.message.", chatDeltas...),
)

// plainTotals takes the numbers for what they say.
func plainTotals(u Usage) Usage {
	u.inputTotal, u.outputTotal = u.Input, u.Output

	return u
}
