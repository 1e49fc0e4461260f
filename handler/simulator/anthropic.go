// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"time"
)

var anthropic = family{
	errors: map[string]simulatedError{
		FaultRateLimited:   {429, "rate_limit_error", "", "This request would exceed your organization's rate limit."},
		FaultQuota:         {400, "invalid_request_error", "", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},
		FaultInvalidKey:    {401, "authentication_error", "", "invalid x-api-key"},
		FaultNoPermission:  {403, "permission_error", "", "Your API key does not have permission to use the specified resource."},
		FaultNotFound:      {404, "not_found_error", "", "model: unknown"},
		FaultError:         {500, "api_error", "", "Internal server error"},
		FaultUnavailable:   {503, "api_error", "", "Service unavailable"},
		FaultOverloaded:    {529, "overloaded_error", "", "Overloaded"},
		FaultContextLength: {400, "invalid_request_error", "", "prompt is too long: 200001 tokens > 200000 maximum"},
		FaultContentFilter: {400, "invalid_request_error", "", "Output blocked by content filtering policy"},
	},
	errorBody: func(e simulatedError, _ time.Duration) any {
		return object{"type": "error", "error": object{"type": e.kind, "message": e.message}, "request_id": "req_sim"}
	},
	lineEnd: "\n",
	errorEvents: func(_ *call, e simulatedError, _ int) []event {
		return []event{{name: "error", data: encode(object{"type": "error", "error": object{"type": e.kind, "message": e.message}})}}
	},
}

func modelAnthropic(id string) object {
	return object{"type": "model", "id": id, "display_name": id, "created_at": "2025-06-15T00:00:00Z"}
}

func listAnthropic(models []string) any {
	data := make([]object, len(models))
	for i, model := range models {
		data[i] = modelAnthropic(model)
	}
	return object{"data": data, "has_more": false, "first_id": models[0], "last_id": models[len(models)-1]}
}

func countTokens(c *call) any { return object{"input_tokens": c.input} }

func messageUsage(c *call, output int) object {
	return object{
		"input_tokens": c.input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
		"output_tokens": output, "service_tier": "standard",
	}
}

func message(c *call, parts []object, stop any, output int) object {
	return object{
		"id": "msg_sim", "type": "message", "role": "assistant", "model": c.model, "content": parts,
		"stop_reason": stop, "stop_sequence": nil, "usage": messageUsage(c, output),
	}
}

func (c *call) stopReason() string {
	if c.tool != "" {
		return "tool_use"
	}
	return "end_turn"
}

func messagePlain(c *call) any {
	part := object{"type": "text", "text": c.text()}
	if c.tool != "" {
		part = object{"type": "tool_use", "id": "toolu_sim", "name": c.tool, "input": json.RawMessage(c.arguments)}
	}
	return message(c, []object{part}, c.stopReason(), c.output())
}

func messageEvents(c *call) []event {
	var events []event
	add := func(k kind, name string, fields object) {
		fields["type"] = name
		events = append(events, event{name: name, data: encode(fields), kind: k})
	}
	add(prelude, "message_start", object{"message": message(c, []object{}, nil, 1)})
	block := object{"type": "text", "text": ""}
	if c.tool != "" {
		block = object{"type": "tool_use", "id": "toolu_sim", "name": c.tool, "input": object{}}
	}
	add(prelude, "content_block_start", object{"index": 0, "content_block": block})
	add(prelude, "ping", object{})
	if c.tool != "" {
		for _, piece := range c.argumentPieces() {
			add(content, "content_block_delta", object{"index": 0, "delta": object{"type": "input_json_delta", "partial_json": piece}})
		}
	} else {
		for _, text := range c.chunks() {
			add(content, "content_block_delta", object{"index": 0, "delta": object{"type": "text_delta", "text": text}})
		}
	}
	add(closing, "content_block_stop", object{"index": 0})
	add(closing, "message_delta", object{
		"delta": object{"stop_reason": c.stopReason(), "stop_sequence": nil},
		"usage": object{"output_tokens": c.output()},
	})
	add(terminator, "message_stop", object{})
	return events
}
