// SPDX-License-Identifier: Apache-2.0

package wire

import "github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"

// openaiUsage is a usage object of OpenAI's APIs and of those compatible with
// them. Chat says prompt and completion where others say input and output.
// Sources: OpenAI's OpenAPI document, and the providers' references as noted.
var openaiUsage = paths{
	"": factUsage,

	"prompt_tokens":                                          factInput,
	"completion_tokens":                                      factOutputTokens,
	"total_tokens":                                           factTotal,
	"prompt_tokens_details.cached_tokens":                    factCacheRead,
	"prompt_tokens_details.cache_write_tokens":               factCacheWrite,
	"prompt_tokens_details.audio_tokens":                     factAudioInput,
	"prompt_tokens_details.image_tokens":                     factImageInput,
	"completion_tokens_details.reasoning_tokens":             factReasoning,
	"completion_tokens_details.audio_tokens":                 factAudioOutput,
	"completion_tokens_details.image_tokens":                 factImageOutput,
	"input_tokens":                                           factInput,
	"output_tokens":                                          factOutputTokens,
	"input_tokens_details.cached_tokens":                     factCacheRead,
	"input_tokens_details.cache_write_tokens":                factCacheWrite,
	"input_tokens_details.audio_tokens":                      factAudioInput,
	"input_tokens_details.image_tokens":                      factImageInput,
	"output_tokens_details.reasoning_tokens":                 factReasoning,
	"output_tokens_details.audio_tokens":                     factAudioOutput,
	"output_tokens_details.image_tokens":                     factImageOutput,
	"input_token_details.cached_tokens":                      factCacheRead, // audio endpoints
	"input_token_details.audio_tokens":                       factAudioInput,
	"input_token_details.image_tokens":                       factImageInput,
	"input_token_details.cached_tokens_details.audio_tokens": factAudioCacheRead,
	"output_token_details.audio_tokens":                      factAudioOutput,
	"seconds":                                                factSeconds, // transcription billed by time
	"prompt_audio_seconds":                                   factSeconds, // Mistral

	"cached_tokens":               factCacheRead,   // Together, Moonshot
	"prompt_cache_hit_tokens":     factCacheRead,   // DeepSeek
	"num_cached_tokens":           factCacheRead,   // Mistral
	"reasoning_tokens":            factReasoning,   // Perplexity
	"num_search_queries":          factWebSearches, // Perplexity
	"cache_creation_input_tokens": factCacheWrite,  // Vercel's gateway
	"cost":                        factCost,        // OpenRouter, Vercel, Avian: USD
	"cost.total_cost":             factCost,        // Perplexity: USD
	"cost_in_usd_ticks":           factTicks,       // xAI
}

// dialectChat is chat completions and the older completions. An error may be an
// object that is called one.
var dialectChat = Dialect{totals: openaiTotals, fails: []string{"error"}, weave: weaveChat, prefill: prefillChat}.compile(chatFacts)

// chatFacts are the facts of an answer or event of theirs.
var chatFacts = merge(
	paths{
		"id":                      factAnswerID,
		"model":                   factModel,
		"service_tier":            factServiceTier,
		"object":                  factType, // vLLM
		"error":                   factError,
		"detail":                  factComplaint,
		"choices.*":               factChoice,
		"choices.*.index":         factIndex,
		"choices.*.finish_reason": factFinish,
		"choices.*.error":         factError, // OpenRouter
	},
	openaiUsage.under("usage"),
	openaiUsage.under("x_groq.usage"),
	openaiUsage.under("choices.*.usage"), // Moonshot
	outputs("choices.*.", "text"),
	outputs("choices.*.delta.", chatDeltas...),
)

// chatDeltas are what a chat's events may have that was generated. Mistral
// sends content as a list of parts.
var chatDeltas = []string{
	"content", "content.*",
	"reasoning", "reasoning_content", "reasoning_details.*",
	"tool_calls.*", "function_call", "refusal", "audio", "images.*",
}

// dialectResponses is the Responses API. A stream's events repeat the whole
// response in "response".
var dialectResponses = Dialect{
	totals: openaiTotals,
	ends:   []string{"response.completed", "response.incomplete", "response.failed", "response.cancelled"},
	fails:  []string{"error", "response.error", "response.failed"},
	weave:  weaveResponses,
}.compile(
	paths{
		"type": factType, "sequence_number": factSequence, "detail": factComplaint,
		"response.created_at": factCreated, "item.container_id": factObject,
	},
	response, response.under("response"),
	outputs("", "delta", "partial_image_b64"),
)

var response = func() paths {
	facts := openaiUsage.under("usage")
	facts["id"] = factAnswerID
	facts["output.*.container_id"] = factObject
	facts["model"] = factModel
	facts["status"] = factStop
	facts["service_tier"] = factServiceTier
	facts["incomplete_details.reason"] = factDetail
	facts["error"] = factError

	return facts
}()

// dialectEmbeddings is embeddings.
var dialectEmbeddings = Dialect{totals: openaiTotals}.compile(
	paths{
		"model": factModel, "error": factError,
		"usage_info.pages_processed":     factPages,       // Mistral reads documents
		"meta.billed_units.search_units": factSearchUnits, // those who rerank as Cohere does
		"meta.tokens.input_tokens":       factInput,
		"meta.tokens.output_tokens":      factOutputTokens,
	},
	openaiUsage.under("usage"),
)

// dialectBatch is a batch, which tells what all of its calls have used so far.
var dialectBatch = Dialect{totals: openaiTotals}.compile(
	paths{"model": factModel, "error": factError, "output_file_id": factObject, "error_file_id": factObject},
	openaiUsage.under("usage"),
)

// dialectStored is an object of those APIs that is stored. What is made
// together with it is named in it.
var dialectStored = Dialect{totals: openaiTotals}.compile(paths{
	"id": factObject, "thread_id": factObject, "file.id": factObject,
	"output_file_id": factObject, "error_file_id": factObject,
})

// dialectRealtime is a session of the Realtime API. The session states its
// model, and each response its usage; what it took to transcribe the client's
// voice comes apart. An error, in an event or of a response, need not end the
// session.
var dialectRealtime = Dialect{sum: true, totals: openaiTotals, asides: []string{"tokens", "duration"}}.compile(
	paths{
		"type":                factType,
		"session.model":       factModel,
		"error":               factMishap,
		"response.status":     factStop,
		"delta":               factOutput,
		"usage":               factAside,
		"usage.type":          factAsideType,
		"usage.input_tokens":  factAsideInput,
		"usage.output_tokens": factAsideOutput,
		"usage.seconds":       factAsideSeconds,

		"response.status_details.error": factMishap,
	},
	openaiUsage.under("response.usage"),
)

// dialectResponsesSession is the Responses API over a WebSocket: the events of
// one response after the other, each asked for by a message that names its
// model.
var dialectResponsesSession = Dialect{
	sum:    true,
	totals: openaiTotals,
	setup:  jsonscan.Compile(map[string]jsonscan.ID{"model": atModel}),
}.compile(
	paths{
		"type":            factType,
		"error":           factMishap,
		"response.model":  factModel,
		"response.status": factStop,
		"response.error":  factMishap,

		"response.incomplete_details.reason": factDetail,
	},
	openaiUsage.under("response.usage"),
	outputs("", "delta", "partial_image_b64"),
)

// dialectImages is the generation of images, whole or in ever better drafts.
var dialectImages = Dialect{
	totals: openaiTotals,
	ends:   []string{"image_generation.completed", "image_edit.completed"},
	fails:  []string{"error"},
}.compile(
	paths{"type": factType, "model": factModel, "error": factError, "data.*": factImage},
	openaiUsage.under("usage"),
	outputs("", "b64_json"),
)

// dialectAudio is transcription, translation and speech.
var dialectAudio = Dialect{
	totals: openaiTotals,
	ends:   []string{"transcript.text.done", "transcription.done", "speech.audio.done"},
	fails:  []string{"error"},
}.compile(
	paths{"type": factType, "model": factModel, "error": factError},
	openaiUsage.under("usage"),
	outputs("", "delta", "text", "audio"),
)

// openaiTotals takes the cached for a part of the input, and reasoning for a
// part of the output. Where the total says otherwise, it is right: xAI counts
// reasoning apart, Mistral counts audio apart, and Gemini in OpenAI's format
// states its reasoning in the total only.
func openaiTotals(u Usage) Usage {
	u.inputTotal, u.outputTotal = u.Input, u.Output
	if !u.has(factTotal) {
		return u
	}
	if !u.has(factInput) && !u.has(factOutputTokens) {
		u.inputTotal = u.Total

		return u
	}
	if !u.has(factInput) || !u.has(factOutputTokens) {
		return u
	}
	switch apart := u.Total - u.Input - u.Output; {
	case apart <= 0:
	case apart == u.AudioInput && apart != u.Reasoning:
		u.inputTotal += apart
	default:
		u.outputTotal += apart
	}

	return u
}
