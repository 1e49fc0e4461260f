// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
)

// gemini is Google's Gemini API, with alt=sse.
var gemini = &family{
	name:   "gemini",
	path:   func(model string) string { return "/v1beta/models/" + model + ":streamGenerateContent?alt=sse" },
	header: "X-Goog-Api-Key",
	request: func(_, prompt string) any {
		return object{"contents": []object{{"role": "user", "parts": []object{{"text": prompt}}}}}
	},
	owns: func(path string) bool { return strings.HasSuffix(path, "enerateContent") },
	asked: func(path string, body []byte) (ask, error) {
		var r struct {
			Contents []struct {
				Role  string          `json:"role"`
				Parts json.RawMessage `json:"parts"`
			} `json:"contents"`
		}
		err := json.Unmarshal(body, &r)
		model, verb, _ := strings.Cut(path[strings.LastIndexByte(path, '/')+1:], ":")
		a := ask{model: model, stream: verb == "streamGenerateContent"}
		if n := len(r.Contents); n > 0 && r.Contents[n-1].Role == "model" {
			a.prefill = joinParts(r.Contents[n-1].Parts)
		}
		return a, err
	},
	eol: "\r\n",
	// Gemini says nothing before the first text.
	begin: func(*answer) []event { return nil },
	delta: func(a *answer, text string) event { return geminiChunk(a, text, "") },
	finish: func(a *answer) []event {
		return []event{geminiChunk(a, "", "STOP")}
	},
	malformed: event{data: `{"candidates":[{"content":{"parts":[{"text":" lo`},
	refusals: map[refusal]string{
		rateLimited:   geminiRefusal(rateLimited, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
		failed:        geminiRefusal(failed, "INTERNAL", "An internal error has occurred."),
		unavailable:   geminiRefusal(unavailable, "UNAVAILABLE", "The service is currently unavailable."),
		contextLength: geminiRefusal(contextLength, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
		contentFilter: geminiRefusal(contentFilter, "INVALID_ARGUMENT", "The prompt was blocked by the content filter: PROHIBITED_CONTENT."),
		noPrefill:     geminiRefusal(noPrefill, "INVALID_ARGUMENT", "Please ensure that multiturn requests end with a user turn; this model does not support prefill."),
	},
	read: readGemini,
}

func geminiChunk(a *answer, text, finish string) event {
	candidate := object{"index": 0, "content": object{"role": "model", "parts": []object{{"text": text}}}}
	chunk := object{
		"candidates": []object{candidate}, "modelVersion": a.model, "responseId": a.id,
		"usageMetadata": object{"promptTokenCount": a.usage.Input, "totalTokenCount": a.usage.Input},
	}
	if finish != "" {
		candidate["finishReason"] = finish
		chunk["usageMetadata"] = object{
			"promptTokenCount": a.usage.Input, "candidatesTokenCount": a.usage.Output,
			"totalTokenCount": a.usage.Input + a.usage.Output,
		}
	}
	return dataEvent(chunk)
}

func geminiRefusal(r refusal, status, message string) string {
	return encode(object{"error": object{"code": r.status(), "message": r.message(message), "status": status}})
}

func readGemini(v *view, e event) {
	if e.data == "[DONE]" {
		v.flaw("a [DONE] that this format does not have")
		return
	}
	var chunk struct {
		Error      json.RawMessage `json:"error"`
		Model      string          `json:"modelVersion"`
		ID         string          `json:"responseId"`
		Candidates []struct {
			Finish  string `json:"finishReason"`
			Content struct {
				Parts json.RawMessage `json:"parts"`
			} `json:"content"`
		} `json:"candidates"`
		Usage *struct {
			Input  int `json:"promptTokenCount"`
			Output int `json:"candidatesTokenCount"`
		} `json:"usageMetadata"`
	}
	if !v.decode(e, &chunk) {
		return
	}
	if v.failed(e, chunk.Error) {
		return
	}
	v.identify(chunk.ID, chunk.Model)
	for _, candidate := range chunk.Candidates {
		v.add(joinParts(candidate.Content.Parts))
		v.finish(candidate.Finish)
		v.terminal = v.terminal || candidate.Finish != ""
	}
	if chunk.Usage != nil {
		v.Usage = &usage{chunk.Usage.Input, chunk.Usage.Output}
	}
}
