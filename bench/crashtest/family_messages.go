// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strconv"
	"strings"
)

// messages is Anthropic's Messages API.
var messages = &family{
	name:   "messages",
	path:   func(string) string { return "/v1/messages" },
	header: "X-Api-Key",
	request: func(model, prompt string) any {
		return object{
			"model": model, "stream": true, "max_tokens": 1024,
			"messages": []object{{"role": "user", "content": prompt}},
		}
	},
	owns: func(path string) bool { return strings.HasSuffix(path, "/messages") },
	// The conversation is spelled as chat spells it.
	asked: chat.asked,
	eol:   "\n",
	begin: func(a *answer) []event {
		return []event{
			namedEvent(object{"type": "message_start", "message": object{
				"id": a.id, "type": "message", "role": "assistant", "model": a.model, "content": []any{},
				"stop_reason": nil, "stop_sequence": nil, "usage": object{"input_tokens": a.usage.Input, "output_tokens": 1},
			}}),
			namedEvent(object{"type": "content_block_start", "index": 0, "content_block": object{"type": "text", "text": ""}}),
			namedEvent(object{"type": "ping"}),
		}
	},
	delta: func(_ *answer, text string) event {
		return namedEvent(object{"type": "content_block_delta", "index": 0, "delta": object{"type": "text_delta", "text": text}})
	},
	finish: func(a *answer) []event {
		return []event{
			namedEvent(object{"type": "content_block_stop", "index": 0}),
			namedEvent(object{
				"type": "message_delta", "delta": object{"stop_reason": "end_turn", "stop_sequence": nil},
				"usage": object{"input_tokens": a.usage.Input, "output_tokens": a.usage.Output},
			}),
			namedEvent(object{"type": "message_stop"}),
		}
	},
	malformed: event{name: "content_block_delta", data: `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" lo`},
	refusals: map[refusal]string{
		rateLimited:   anthropicRefusal(rateLimited, "rate_limit_error", "This request would exceed your organization's rate limit."),
		failed:        anthropicRefusal(failed, "api_error", "Internal server error"),
		unavailable:   anthropicRefusal(unavailable, "api_error", "Service unavailable"),
		contextLength: anthropicRefusal(contextLength, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
		contentFilter: anthropicRefusal(contentFilter, "invalid_request_error", "Output blocked by content filtering policy"),
		noPrefill:     anthropicRefusal(noPrefill, "invalid_request_error", "This model does not support assistant message prefill. The conversation must end with a user message."),
	},
	read: readMessages,
}

func anthropicRefusal(r refusal, kind, message string) string {
	return encode(object{"type": "error", "error": object{"type": kind, "message": r.message(message)}})
}

func readMessages(v *view, e event) {
	if e.data == "[DONE]" {
		v.flaw("a [DONE] that this format does not have")
		return
	}
	var m struct {
		Type    string          `json:"type"`
		Index   int             `json:"index"`
		Error   json.RawMessage `json:"error"`
		Message struct {
			ID    string         `json:"id"`
			Model string         `json:"model"`
			Usage anthropicUsage `json:"usage"`
		} `json:"message"`
		Delta struct {
			Text string `json:"text"`
			Stop string `json:"stop_reason"`
		} `json:"delta"`
		Usage anthropicUsage `json:"usage"`
	}
	if !v.decode(e, &m) {
		return
	}
	if v.failed(e, m.Error) {
		return
	}
	block := strconv.Itoa(m.Index)
	switch m.Type {
	case "message_start":
		v.once(m.Type)
		v.identify(m.Message.ID, m.Message.Model)
		m.Message.Usage.overlay(v)
	case "content_block_start", "content_block_stop":
		v.once(m.Type + " " + block)
	case "content_block_delta":
		v.add(m.Delta.Text)
		if v.counts["content_block_start "+block] == 0 || v.counts["content_block_stop "+block] > 0 {
			v.flaw("text outside a content block")
		}
	case "message_delta":
		v.finish(m.Delta.Stop)
		m.Usage.overlay(v)
	case "message_stop":
		v.once(m.Type)
		v.terminal, v.closed = true, true
	}
}

// anthropicUsage is a count of which each event may tell a part.
type anthropicUsage struct {
	Input  *int `json:"input_tokens"`
	Output *int `json:"output_tokens"`
}

func (u anthropicUsage) overlay(v *view) {
	if v.Usage == nil && (u.Input != nil || u.Output != nil) {
		v.Usage = new(usage)
	}
	if u.Input != nil {
		v.Usage.Input = *u.Input
	}
	if u.Output != nil {
		v.Usage.Output = *u.Output
	}
}
