// SPDX-License-Identifier: Apache-2.0

package wire

import "github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"

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
		"cacheTokensDetails.*":      factCachePart,
		"serviceTier":               factServiceTier,
		"candidatesTokensDetails.*": factOutputPart,
		"responseTokensDetails.*":   factOutputPart,
	},
	modalityPart.under("promptTokensDetails.*"),
	modalityPart.under("cacheTokensDetails.*"),
	modalityPart.under("candidatesTokensDetails.*"),
	modalityPart.under("responseTokensDetails.*"),
)

var modalityPart = paths{"modality": factModality, "tokenCount": factPartTokens}

// modality is a kind of content that is paid for apart.
type modality uint8

const (
	otherModality modality = iota
	soundModality
	imageModality
	// hourModality is how long something stays in Bedrock's cache.
	hourModality
)

var modalities = map[string]modality{"AUDIO": soundModality, "IMAGE": imageModality, "1h": hourModality}

// modalityParts are what the parts of a usage are called that are of one kind.
var modalityParts = map[modality]map[jsonscan.ID]jsonscan.ID{
	soundModality: {factInputPart: factAudioInput, factOutputPart: factAudioOutput, factCachePart: factAudioCacheRead},
	imageModality: {factInputPart: factImageInput, factOutputPart: factImageOutput},
}

// dialectEmbed is embeddings: of Gemini's models, and of the older ones that
// predict them, each with a count of its own.
var dialectEmbed = Dialect{sum: true, totals: generateTotals}.compile(
	paths{
		"modelVersion":                        factModel,
		"error":                               factError,
		"predictions.*.bytesBase64Encoded":    factImage, // Imagen
		"predictions.*.embeddings.statistics": factUsage,
		"predictions.*.embeddings.statistics.token_count": factInput,
	},
	generateUsage.under("usageMetadata"),
)

// dialectLive is a session of the Live API, in which every turn states its
// usage. Nothing but the client's setup names the model.
var dialectLive = Dialect{
	sum:    true,
	totals: generateTotals,
	setup:  jsonscan.Compile(map[string]jsonscan.ID{"setup.model": atModel}),
}.compile(
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
	"id":                          factAnswerID,
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

// dialectNamed is an object of Google's that is stored. A file that was sent
// up stands in an object of its own.
var dialectNamed = Dialect{totals: generateTotals}.compile(paths{"name": factObject, "file.name": factObject})

// generateTotals adds the prompts of tools to the input and thoughts to the
// output, which have neither. The cached are part of the input.
func generateTotals(u Usage) Usage {
	u.inputTotal, u.outputTotal = u.Input+u.ToolPrompt, u.Output+u.Reasoning

	return u
}
