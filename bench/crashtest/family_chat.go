// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
)

// chat is OpenAI's Chat Completions.
var chat = &family{
	name:   "chat",
	path:   func(string) string { return "/v1/chat/completions" },
	header: "Authorization", prefix: "Bearer ",
	request: func(model, prompt string) any {
		return object{
			"model": model, "stream": true, "stream_options": object{"include_usage": true},
			"messages": []object{{"role": "user", "content": prompt}},
		}
	},
	owns: func(path string) bool { return strings.HasSuffix(path, "/chat/completions") },
	asked: func(_ string, body []byte) (ask, error) {
		var r struct {
			Model    string `json:"model"`
			Stream   bool   `json:"stream"`
			Messages []turn `json:"messages"`
		}
		err := json.Unmarshal(body, &r)
		return ask{r.Model, r.Stream, prefill(r.Messages)}, err
	},
	eol: "\n",
	begin: func(a *answer) []event {
		return []event{chatChunk(a, object{"role": "assistant", "content": ""}, nil)}
	},
	delta: func(a *answer, text string) event { return chatChunk(a, object{"content": text}, nil) },
	finish: func(a *answer) []event {
		last := chatObject(a)
		last["choices"] = []object{}
		last["usage"] = object{
			"prompt_tokens": a.usage.Input, "completion_tokens": a.usage.Output, "total_tokens": a.usage.Input + a.usage.Output,
		}
		return []event{chatChunk(a, object{}, "stop"), dataEvent(last)}
	},
	end:       []event{{data: "[DONE]"}},
	malformed: event{data: `{"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" lo`},
	refusals:  openAIRefusals("messages"),
	read:      readChat,
}

func chatObject(a *answer) object {
	return object{"id": a.id, "object": "chat.completion.chunk", "created": 1, "model": a.model, "usage": nil}
}

func chatChunk(a *answer, delta object, finish any) event {
	chunk := chatObject(a)
	chunk["choices"] = []object{{"index": 0, "delta": delta, "finish_reason": finish}}
	return dataEvent(chunk)
}

// openAIRefusals are the error bodies of both of OpenAI's formats; param is
// where they keep the conversation.
func openAIRefusals(param string) map[refusal]string {
	body := func(r refusal, kind, code, message string) string {
		return encode(object{"error": object{"message": r.message(message), "type": kind, "param": param, "code": code}})
	}
	return map[refusal]string{
		rateLimited:   body(rateLimited, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
		failed:        body(failed, "server_error", "internal_error", "The server had an error while processing your request."),
		unavailable:   body(unavailable, "server_error", "service_unavailable", "The server is temporarily unable to process your request."),
		contextLength: body(contextLength, "invalid_request_error", "context_length_exceeded", "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."),
		contentFilter: body(contentFilter, "invalid_request_error", "content_filter", "The prompt was filtered because it triggered the content management policy."),
		noPrefill:     body(noPrefill, "invalid_request_error", "invalid_value", "This model does not support assistant message prefill: the last message must be the user's."),
	}
}

func readChat(v *view, e event) {
	if e.data == "[DONE]" {
		v.done()
		return
	}
	var chunk struct {
		ID      string          `json:"id"`
		Model   string          `json:"model"`
		Error   json.RawMessage `json:"error"`
		Choices []struct {
			Delta struct {
				Role    string `json:"role"`
				Content string `json:"content"`
			} `json:"delta"`
			Finish string `json:"finish_reason"`
		} `json:"choices"`
		Usage *struct {
			Input  int `json:"prompt_tokens"`
			Output int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if !v.decode(e, &chunk) {
		return
	}
	if v.failed(e, chunk.Error) {
		return
	}
	v.identify(chunk.ID, chunk.Model)
	for _, choice := range chunk.Choices {
		v.add(choice.Delta.Content)
		v.finish(choice.Finish)
		v.terminal = v.terminal || choice.Finish != ""
	}
	if chunk.Usage != nil {
		v.Usage = &usage{chunk.Usage.Input, chunk.Usage.Output}
	}
}
