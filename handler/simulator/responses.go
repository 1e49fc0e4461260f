// SPDX-License-Identifier: Apache-2.0

package simulator

// responses is OpenAI's, but for how an error is reported in a stream.
var responses = family{
	errors:      openaiErrors,
	errorBody:   openaiErrorBody,
	lineEnd:     "\n",
	errorEvents: responseErrorEvents,
}

// responseErrorEvents reports an error, and then that the response has failed.
func responseErrorEvents(c *call, e simulatedError, sent int) []event {
	failed := responseObject(c, "failed", []object{})
	failed["error"] = object{"code": orNull(e.code), "message": e.message}
	return []event{
		{name: "error", data: encode(object{
			"type": "error", "sequence_number": sent,
			"error": object{"type": e.kind, "code": orNull(e.code), "message": e.message, "param": nil},
		})},
		{name: "response.failed", data: encode(object{"type": "response.failed", "sequence_number": sent + 1, "response": failed})},
	}
}

// responseObject is the object that stands in every answer and in many events.
func responseObject(c *call, status string, output []object) object {
	response := object{
		"id": "resp_sim", "object": "response", "created_at": simulatedTime, "status": status, "background": false,
		"error": nil, "incomplete_details": nil, "instructions": nil, "metadata": object{}, "model": c.model,
		"output": output, "parallel_tool_calls": true, "previous_response_id": nil, "reasoning": object{"effort": nil, "summary": nil},
		"store": true, "temperature": 1, "text": object{"format": object{"type": "text"}}, "tool_choice": "auto",
		"tools": []object{}, "top_p": 1, "truncation": "disabled", "usage": nil,
	}
	if status == "completed" {
		response["usage"] = object{
			"input_tokens": c.input, "input_tokens_details": object{"cached_tokens": 0},
			"output_tokens": c.output(), "output_tokens_details": object{"reasoning_tokens": 0},
			"total_tokens": c.input + c.output(),
		}
	}
	return response
}

// responseItem is what the answer consists of: a message or a tool call.
func responseItem(c *call, status string) object {
	text, arguments := c.text(), c.arguments
	if status != "completed" {
		text, arguments = "", ""
	}
	if c.tool != "" {
		return object{"id": "fc_sim", "type": "function_call", "status": status, "call_id": "call_sim", "name": c.tool, "arguments": arguments}
	}
	parts := []object{}
	if status == "completed" {
		parts = append(parts, outputText(text))
	}
	return object{"id": "msg_sim", "type": "message", "status": status, "role": "assistant", "content": parts}
}

func outputText(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []object{}, "logprobs": []object{}}
}

func responsePlain(c *call) any {
	return responseObject(c, "completed", []object{responseItem(c, "completed")})
}

func responseEvents(c *call) []event {
	var events []event
	add := func(k kind, name string, fields object) {
		fields["type"], fields["sequence_number"] = name, len(events)
		events = append(events, event{name: name, data: encode(fields), kind: k})
	}
	add(prelude, "response.created", object{"response": responseObject(c, "in_progress", []object{})})
	add(prelude, "response.in_progress", object{"response": responseObject(c, "in_progress", []object{})})
	add(prelude, "response.output_item.added", object{"output_index": 0, "item": responseItem(c, "in_progress")})
	if c.tool != "" {
		for _, piece := range c.argumentPieces() {
			add(content, "response.function_call_arguments.delta", object{"item_id": "fc_sim", "output_index": 0, "delta": piece})
		}
		add(closing, "response.function_call_arguments.done", object{"item_id": "fc_sim", "output_index": 0, "arguments": c.arguments})
	} else {
		part := object{"item_id": "msg_sim", "output_index": 0, "content_index": 0}
		with := func(name string, value any) object {
			fields := object{name: value}
			for k, v := range part {
				fields[k] = v
			}
			return fields
		}
		add(prelude, "response.content_part.added", with("part", outputText("")))
		for _, text := range c.chunks() {
			fields := with("delta", text)
			fields["logprobs"] = []object{}
			add(content, "response.output_text.delta", fields)
		}
		done := with("text", c.text())
		done["logprobs"] = []object{}
		add(closing, "response.output_text.done", done)
		add(closing, "response.content_part.done", with("part", outputText(c.text())))
	}
	add(closing, "response.output_item.done", object{"output_index": 0, "item": responseItem(c, "completed")})
	add(terminator, "response.completed", object{"response": responseObject(c, "completed", []object{responseItem(c, "completed")})})
	return events
}
