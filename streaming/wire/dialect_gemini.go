// SPDX-License-Identifier: Apache-2.0

package wire

// dialectGenerate is generateContent of Gemini and Vertex AI, streamed or not,
// and its counting of tokens and embeddings. Every chunk may state the usage
// so far, some of them only a part of it. Source: Google's API reference.
var dialectGenerate = Dialect{overlay: true, totals: generateTotals, weave: weaveGenerate, prefill: prefillGenerate}.compile(
	paths{
		"modelVersion":                            factModel,
		"error":                                   factError,
		"candidates.*":                            factChoice,
		"candidates.*.index":                      factIndex,
		"candidates.*.finishReason":               factFinish,
		"promptFeedback.blockReason":              factBlock,
		"usageMetadata":                           factUsage,
		"usageMetadata.promptTokenCount":          factInput,
		"usageMetadata.candidatesTokenCount":      factOutputTokens,
		"usageMetadata.totalTokenCount":           factTotal,
		"usageMetadata.cachedContentTokenCount":   factCacheRead,
		"usageMetadata.thoughtsTokenCount":        factReasoning,
		"usageMetadata.toolUsePromptTokenCount":   factToolPrompt,
		"usageMetadata.promptTokensDetails.*":     factInputPart,
		"usageMetadata.candidatesTokensDetails.*": factOutputPart,
	},
	modality.under("usageMetadata.promptTokensDetails.*"),
	modality.under("usageMetadata.candidatesTokensDetails.*"),
	outputs("candidates.*.content.parts.*.", "text", "functionCall", "inlineData", "fileData", "executableCode", "codeExecutionResult"),
)

var modality = paths{"modality": factModality, "tokenCount": factPartTokens}

// generateTotals adds the prompts of tools to the input and thoughts to the
// output, which have neither. The cached are part of the input.
func generateTotals(u *Usage) {
	u.inputTotal, u.outputTotal = u.Input+u.ToolPrompt, u.Output+u.Reasoning
}
