// SPDX-License-Identifier: Apache-2.0

package wire

// dialectGenerate is generateContent of Gemini and Vertex AI, streamed or not,
// and its counting of tokens. Every chunk may state the usage so far, some of
// them only a part of it. Older models state none, and the finish reason in
// every chunk. Source: Google's API reference.
var dialectGenerate = Dialect{overlay: true, repeats: true, totals: generateTotals, weave: weaveGenerate, prefill: prefillGenerate}.compile(
	paths{
		"modelVersion":               factModel,
		"error":                      factError,
		"candidates.*":               factChoice,
		"candidates.*.index":         factIndex,
		"candidates.*.finishReason":  factFinish,
		"promptFeedback.blockReason": factBlock,
	},
	generateUsage.under("usageMetadata"),
	outputs("candidates.*.content.parts.*.", generated...),
)

// generated is what the parts of a content may be.
var generated = []string{"text", "functionCall", "inlineData", "fileData", "executableCode", "codeExecutionResult"}

// generateUsage is a usage object of Google's.
var generateUsage = merge(
	paths{
		"":                          factUsage,
		"promptTokenCount":          factInput,
		"candidatesTokenCount":      factOutputTokens,
		"responseTokenCount":        factOutputTokens, // Live
		"totalTokenCount":           factTotal,
		"cachedContentTokenCount":   factCacheRead,
		"thoughtsTokenCount":        factReasoning,
		"toolUsePromptTokenCount":   factToolPrompt,
		"promptTokensDetails.*":     factInputPart,
		"candidatesTokensDetails.*": factOutputPart,
		"responseTokensDetails.*":   factOutputPart,
	},
	modality.under("promptTokensDetails.*"),
	modality.under("candidatesTokensDetails.*"),
	modality.under("responseTokensDetails.*"),
)

var modality = paths{"modality": factModality, "tokenCount": factPartTokens}

// dialectEmbed is embeddings: of Gemini's models, and of the older ones that
// predict them, each with a count of its own.
var dialectEmbed = Dialect{sum: true, totals: generateTotals}.compile(
	paths{
		"modelVersion":                        factModel,
		"error":                               factError,
		"predictions.*.embeddings.statistics": factUsage,
		"predictions.*.embeddings.statistics.token_count": factInput,
	},
	generateUsage.under("usageMetadata"),
)

// dialectLive is a session of the Live API, in which every turn states its
// usage.
var dialectLive = Dialect{sum: true, totals: generateTotals}.compile(
	paths{"error": factError, "serverContent.turnComplete": factTurn},
	generateUsage.under("usageMetadata"),
	outputs("serverContent.modelTurn.parts.*.", generated...),
	outputs("", "toolCall"),
)

// dialectInteractions is the Interactions API. A stream's events repeat the
// interaction.
var dialectInteractions = Dialect{
	totals: generateTotals,
	ends:   []string{"interaction.completed", "interaction.complete", "interaction.failed", "interaction.cancelled"},
	fails:  []string{"error"},
}.compile(
	paths{"event_type": factType, "error": factError, "delta": factOutput},
	interaction, interaction.under("interaction"),
)

var interaction = paths{
	"model":                       factModel,
	"status":                      factStop,
	"usage":                       factUsage,
	"usage.total_input_tokens":    factInput,
	"usage.total_output_tokens":   factOutputTokens,
	"usage.total_tokens":          factTotal,
	"usage.total_cached_tokens":   factCacheRead,
	"usage.total_thought_tokens":  factReasoning,
	"usage.total_tool_use_tokens": factToolPrompt,
}

// generateTotals adds the prompts of tools to the input and thoughts to the
// output, which have neither. The cached are part of the input.
func generateTotals(u *Usage) {
	u.inputTotal, u.outputTotal = u.Input+u.ToolPrompt, u.Output+u.Reasoning
}
