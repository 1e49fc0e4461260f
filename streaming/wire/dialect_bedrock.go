// SPDX-License-Identifier: Apache-2.0

package wire

// converseUsage is a usage object of Bedrock's. What was read from the cache
// and written to it is not part of its input. Source: the API reference.
var converseUsage = paths{
	"":                      factUsage,
	"inputTokens":           factInput,
	"outputTokens":          factOutputTokens,
	"totalTokens":           factTotal,
	"cacheReadInputTokens":  factCacheRead,
	"cacheWriteInputTokens": factCacheWrite,

	"cacheDetails.*":             factWritePart,
	"cacheDetails.*.ttl":         factModality,
	"cacheDetails.*.inputTokens": factPartTokens,
}

// dialectConverse is Converse, the same for all of Bedrock's models. The last
// event of a stream is its metadata.
var dialectConverse = Dialect{totals: messagesTotals, ends: []string{"metadata"}}.compile(
	paths{"stopReason": factStop},
	converseUsage.under("usage"),
	outputs("delta.", "text", "toolUse", "reasoningContent", "image", "citation"),
	outputs("start.", "toolUse", "image"),
)

// dialectInvoke is what Bedrock's models answer by themselves, each maker's in
// its own way; no two of them put the same name to different uses. Behind the
// last event of a stream Bedrock says what it has metered.
var dialectInvoke = Dialect{
	overlay: true,
	wrapped: true,
	totals:  invokeTotals,
	fails:   []string{"error"},
}.compile(
	messagesFacts, // Anthropic
	paths{
		"amazon-bedrock-invocationMetrics":                           factEnd,
		"amazon-bedrock-invocationMetrics.inputTokenCount":           factMeteredInput,
		"amazon-bedrock-invocationMetrics.outputTokenCount":          factMeteredOutput,
		"amazon-bedrock-invocationMetrics.cacheReadInputTokenCount":  factMeteredCacheRead,
		"amazon-bedrock-invocationMetrics.cacheWriteInputTokenCount": factMeteredCacheWrite,

		// Anthropic's older models, and those of Meta.
		"completion":             factOutput,
		"generation":             factOutput,
		"prompt_token_count":     factInput,
		"generation_token_count": factOutputTokens,

		// Nova: Converse in one object, and its events each under their names.
		"stopReason":              factStop,
		"messageStop.stopReason":  factStop,
		"messageStart":            factOutput,
		"contentBlockDelta.delta": factOutput,

		// Those who draw.
		"images.*": factImage,

		// Titan.
		"outputText":                 factOutput,
		"completionReason":           factStop,
		"inputTextTokenCount":        factInput,
		"totalOutputTextTokenCount":  factOutputTokens,
		"results.*.completionReason": factStop,
		"results.*.tokenCount":       factOutputTokens,

		// Mistral, Cohere and AI21.
		"outputs.*.stop_reason":             factStop,
		"outputs.*.text":                    factOutput,
		"text":                              factOutput,
		"finish_reason":                     factStop,
		"generations.*.text":                factOutput,
		"generations.*.finish_reason":       factStop,
		"completions.*.finishReason.reason": factStop,

		// Those who speak OpenAI's format.
		"choices.*":               factChoice,
		"choices.*.index":         factIndex,
		"choices.*.finish_reason": factFinish,
		"choices.*.stop_reason":   factFinish,
		"choices.*.text":          factOutput,
	},
	converseUsage.under("usage"),
	converseUsage.under("metadata.usage"),
	openaiUsage.under("usage"),
	outputs("choices.*.delta.", chatDeltas...),
	outputs("choices.*.message.", "content"),
)

// invokeTotals tells those who count the cached apart from those who count it
// in by whether they state what OpenAI does: a prompt's tokens in a total.
func invokeTotals(u Usage) Usage {
	if u.has(factTotal) && u.Total == u.Input+u.Output {
		u.inputTotal, u.outputTotal = u.Input, u.Output

		return u
	}

	return messagesTotals(u)
}
