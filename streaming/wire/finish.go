// SPDX-License-Identifier: Apache-2.0

package wire

import "strings"

// The reasons why answers end, whatever the provider calls them.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishTools  = "tool_calls"
	finishFilter = "content_filter"
	finishError  = "error"
	finishOther  = "other"
)

// notFinished are words that stand where the reason would, before there is
// one: of the Responses API, of Google as a word and as a number, and of
// DashScope.
var notFinished = []string{"in_progress", "queued", "FINISH_REASON_UNSPECIFIED", "0", "null"}

// finishReasons translates the providers' words, in lower case. The numbers
// are Google's, for clients that ask for enums as integers.
var finishReasons = map[string]string{
	"stop":              finishStop,
	"end_turn":          finishStop,
	"stop_sequence":     finishStop,
	"completed":         finishStop,
	"complete":          finishStop,
	"turncomplete":      finishStop, // Gemini Live
	"finish":            finishStop, // Titan
	"endoftext":         finishStop, // AI21
	"eos":               finishStop, // Together
	"eos_token":         finishStop, // TGI
	"stop_criteria_met": finishStop, // Titan
	"word":              finishStop, // llama.cpp
	"1":                 finishStop,

	"length":                        finishLength,
	"max_tokens":                    finishLength,
	"incomplete":                    finishLength,
	"incomplete:max_output_tokens":  finishLength,
	"model_length":                  finishLength, // Mistral
	"model_context_window_exceeded": finishLength, // Anthropic, Zhipu
	"max":                           finishLength, // Cohere on Bedrock
	"limit":                         finishLength, // llama.cpp
	"2":                             finishLength,

	"tool_calls":    finishTools,
	"tool_use":      finishTools,
	"function_call": finishTools,
	"tool_call":     finishTools, // Cohere

	"content_filter":            finishFilter,
	"refusal":                   finishFilter,
	"incomplete:content_filter": finishFilter,
	"safety":                    finishFilter,
	"recitation":                finishFilter,
	"blocklist":                 finishFilter,
	"prohibited_content":        finishFilter,
	"spii":                      finishFilter,
	"image_safety":              finishFilter,
	"image_prohibited_content":  finishFilter,
	"image_recitation":          finishFilter,
	"model_armor":               finishFilter,
	"sensitive":                 finishFilter, // Zhipu
	"guardrail_intervened":      finishFilter, // Bedrock
	"content_filtered":          finishFilter, // Bedrock
	"error_toxic":               finishFilter, // Cohere
	"3":                         finishFilter,
	"4":                         finishFilter,
	"7":                         finishFilter,
	"8":                         finishFilter,
	"9":                         finishFilter,

	"requires_action": finishTools, // Gemini's interactions

	"error":                        finishError,
	"failed":                       finishError,
	"cancelled":                    finishError,
	"network_error":                finishError, // Zhipu
	"insufficient_system_resource": finishError, // DeepSeek
	"malformed_function_call":      finishError,
	"unexpected_tool_call":         finishError,
	"too_many_tool_calls":          finishError,
	"malformed_response":           finishError,
	"malformed_model_output":       finishError, // Bedrock
	"malformed_tool_use":           finishError, // Bedrock
	"10":                           finishError,
}

// finishReason returns the common word for a provider's, or an empty one for
// none.
func finishReason(word string) string {
	if word == "" {
		return ""
	}
	if reason, ok := finishReasons[strings.ToLower(word)]; ok {
		return reason
	}

	return finishOther
}
