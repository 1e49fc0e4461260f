// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// responses is OpenAI's Responses API.
var responses = &family{
	name:   "responses",
	path:   func(string) string { return "/v1/responses" },
	header: "Authorization", prefix: "Bearer ",
	request: func(model, prompt string) any {
		return object{
			"model": model, "stream": true, "store": false,
			"input": []object{{"role": "user", "content": prompt}},
		}
	},
	owns: func(path string) bool { return strings.HasSuffix(path, "/responses") },
	asked: func(_ string, body []byte) (ask, error) {
		var r struct {
			Model  string          `json:"model"`
			Stream bool            `json:"stream"`
			Input  json.RawMessage `json:"input"`
		}
		err := json.Unmarshal(body, &r)
		var turns []turn
		// A bare string as input is the user's.
		_ = json.Unmarshal(r.Input, &turns)
		return ask{r.Model, r.Stream, prefill(turns)}, err
	},
	eol: "\n",
	begin: func(a *answer) []event {
		return []event{
			responsesEvent(a, "response.created", object{"response": responsesObject(a, "in_progress")}),
			responsesEvent(a, "response.in_progress", object{"response": responsesObject(a, "in_progress")}),
			responsesEvent(a, "response.output_item.added", object{"output_index": 0, "item": responsesItem(a, "in_progress")}),
			responsesEvent(a, "response.content_part.added", responsesPart(a, object{"part": object{"type": "output_text", "text": "", "annotations": []any{}}})),
		}
	},
	delta: func(a *answer, text string) event {
		return responsesEvent(a, "response.output_text.delta", responsesPart(a, object{"delta": text, "logprobs": []any{}}))
	},
	finish: func(a *answer) []event {
		text := a.text.String()
		done := responsesObject(a, "completed")
		done["output"] = []object{responsesItem(a, "completed")}
		done["usage"] = object{
			"input_tokens": a.usage.Input, "input_tokens_details": object{"cached_tokens": 0},
			"output_tokens": a.usage.Output, "output_tokens_details": object{"reasoning_tokens": 0},
			"total_tokens": a.usage.Input + a.usage.Output,
		}
		return []event{
			responsesEvent(a, "response.output_text.done", responsesPart(a, object{"text": text, "logprobs": []any{}})),
			responsesEvent(a, "response.content_part.done", responsesPart(a, object{"part": object{"type": "output_text", "text": text, "annotations": []any{}}})),
			responsesEvent(a, "response.output_item.done", object{"output_index": 0, "item": responsesItem(a, "completed")}),
			responsesEvent(a, "response.completed", object{"response": done}),
		}
	},
	malformed: event{name: "response.output_text.delta", data: `{"type":"response.output_text.delta","item_id":"msg-broken","delta":" lo`},
	refusals:  openAIRefusals("input"),
	read:      readResponses,
}

func responsesEvent(a *answer, kind string, fields object) event {
	fields["type"] = kind
	fields["sequence_number"] = a.next()
	return namedEvent(fields)
}

func responsesObject(a *answer, status string) object {
	return object{
		"id": a.id, "object": "response", "created_at": 1, "status": status, "model": a.model,
		"error": nil, "incomplete_details": nil, "output": []any{}, "usage": nil,
	}
}

func responsesItem(a *answer, status string) object {
	content := []object{}
	if status == "completed" {
		content = append(content, object{"type": "output_text", "text": a.text.String(), "annotations": []any{}})
	}
	return object{"id": "msg-" + a.id, "type": "message", "role": "assistant", "status": status, "content": content}
}

func responsesPart(a *answer, fields object) object {
	fields["item_id"], fields["output_index"], fields["content_index"] = "msg-"+a.id, 0, 0
	return fields
}

func readResponses(v *view, e event) {
	if e.data == "[DONE]" {
		v.flaw("a [DONE] that this format does not have")
		return
	}
	var r struct {
		Type     string `json:"type"`
		Sequence *int   `json:"sequence_number"`
		Item     string `json:"item_id"`
		Output   int    `json:"output_index"`
		Part     int    `json:"content_index"`
		Delta    string `json:"delta"`
		Text     string `json:"text"`
		Response struct {
			ID     string `json:"id"`
			Model  string `json:"model"`
			Status string `json:"status"`
			Usage  *struct {
				Input  int `json:"input_tokens"`
				Output int `json:"output_tokens"`
			} `json:"usage"`
			Output []struct {
				Content []struct {
					Text string `json:"text"`
				} `json:"content"`
			} `json:"output"`
		} `json:"response"`
	}
	if !v.decode(e, &r) {
		return
	}
	if r.Type == "error" || r.Type == "response.failed" || r.Type == "" {
		v.failed(e, json.RawMessage(e.data))
		return
	}
	if r.Sequence != nil {
		if *r.Sequence <= v.sequence {
			v.flaw(fmt.Sprintf("sequence number %d after %d", *r.Sequence, v.sequence))
		}
		v.sequence = *r.Sequence
	}
	v.identify(r.Response.ID, r.Response.Model)
	part := fmt.Sprintf("part %d.%d", r.Output, r.Part)
	v.same(fmt.Sprintf("item of output %d", r.Output), r.Item)
	switch r.Type {
	case "response.created", "response.completed", "response.incomplete":
		v.once(r.Type)
	case "response.output_item.added", "response.output_item.done":
		v.once(fmt.Sprintf("%s %d", r.Type, r.Output))
	case "response.content_part.added", "response.content_part.done":
		v.once(r.Type + " " + part)
	case "response.output_text.delta":
		v.add(r.Delta)
		v.parts[part] += r.Delta
	case "response.output_text.done":
		v.once(r.Type + " " + part)
		v.repeats(r.Type, r.Text, v.parts[part])
	}
	switch r.Type {
	case "response.completed", "response.incomplete":
		v.finish(r.Response.Status)
		v.terminal = true
		if r.Response.Usage != nil {
			v.Usage = &usage{r.Response.Usage.Input, r.Response.Usage.Output}
		}
		var text strings.Builder
		for _, item := range r.Response.Output {
			for _, part := range item.Content {
				text.WriteString(part.Text)
			}
		}
		v.repeats(r.Type, text.String(), v.Text)
	}
}
