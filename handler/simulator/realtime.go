// SPDX-License-Identifier: Apache-2.0

package simulator

// realtime is OpenAI's Realtime API, as far as it is about text.
var realtime = family{
	errors:      openaiErrors,
	errorBody:   openaiErrorBody,
	errorEvents: realtimeErrorEvents,
}

// realtimeErrorEvents makes a response fail; the conversation goes on.
func realtimeErrorEvents(c *call, e simulatedError, _ int) []event {
	failed := realtimeResponse(c, "failed", []object{})
	failed["status_details"] = object{"type": "failed", "error": object{"type": e.kind, "code": orNull(e.code), "message": e.message}}
	return []event{{data: realtimeEvent("response.done", object{"response": failed})}}
}

func realtimeEvent(kind string, fields object) string {
	fields["type"], fields["event_id"] = kind, "event_sim"
	return encode(fields)
}

// converse answers whatever the client asks for.
func converse(s *session) {
	s.say(realtimeEvent("session.created", object{"session": s.realtimeSession()}))
	for message := range s.heard {
		switch kind, _ := message["type"].(string); kind {
		case "session.update":
			s.say(realtimeEvent("session.updated", object{"session": s.realtimeSession()}))
		case "conversation.item.create":
			item, _ := message["item"].(object)
			s.call.input += countWords(item)
			s.say(realtimeEvent("conversation.item.added", object{"previous_item_id": nil, "item": item}))
			s.say(realtimeEvent("conversation.item.done", object{"previous_item_id": nil, "item": item}))
		case "response.create":
			s.answer(realtimeEvents(s.call))
		case "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear", "response.cancel":
		default:
			s.say(realtimeEvent("error", object{"error": object{
				"type": "invalid_request_error", "code": "invalid_value", "message": "Invalid value: 'type'.", "param": "type", "event_id": message["event_id"],
			}}))
		}
	}
}

func (s *session) realtimeSession() object {
	return object{
		"type": "realtime", "object": "realtime.session", "id": "sess_sim", "model": s.call.model, "output_modalities": []string{"text"},
		"instructions": "", "tools": []object{}, "tool_choice": "auto", "max_output_tokens": "inf", "expires_at": simulatedTime + 3600,
	}
}

// realtimeResponse is the object that begins and ends an answer.
func realtimeResponse(c *call, status string, output []object) object {
	response := object{
		"object": "realtime.response", "id": "resp_sim", "status": status, "status_details": nil, "output": output,
		"conversation_id": "conv_sim", "output_modalities": []string{"text"}, "metadata": nil, "usage": nil,
	}
	if status == "completed" {
		response["usage"] = object{
			"total_tokens": c.input + c.output(), "input_tokens": c.input, "output_tokens": c.output(),
			"input_token_details":  object{"text_tokens": c.input, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 0},
			"output_token_details": object{"text_tokens": c.output(), "audio_tokens": 0},
		}
	}
	return response
}

func realtimeItem(c *call, status string) object {
	content := []object{}
	if status == "completed" {
		content = append(content, object{"type": "output_text", "text": c.text()})
	}
	return object{"object": "realtime.item", "id": "item_sim", "type": "message", "status": status, "role": "assistant", "content": content}
}

func realtimeEvents(c *call) []event {
	var events []event
	add := func(k kind, name string, fields object) {
		events = append(events, event{data: realtimeEvent(name, fields), kind: k})
	}
	part := func(name string, value any) object {
		return object{"response_id": "resp_sim", "item_id": "item_sim", "output_index": 0, "content_index": 0, name: value}
	}
	item := func(status string) object {
		return object{"response_id": "resp_sim", "output_index": 0, "item": realtimeItem(c, status)}
	}
	add(prelude, "response.created", object{"response": realtimeResponse(c, "in_progress", []object{})})
	add(prelude, "response.output_item.added", item("in_progress"))
	add(prelude, "response.content_part.added", part("part", object{"type": "text", "text": ""}))
	for _, text := range c.chunks() {
		add(content, "response.output_text.delta", part("delta", text))
	}
	add(closing, "response.output_text.done", part("text", c.text()))
	add(closing, "response.content_part.done", part("part", object{"type": "text", "text": c.text()}))
	add(closing, "response.output_item.done", item("completed"))
	add(terminator, "response.done", object{"response": realtimeResponse(c, "completed", []object{realtimeItem(c, "completed")})})
	return events
}
