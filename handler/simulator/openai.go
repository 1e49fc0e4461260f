// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"time"
)

// Times and ids are fixed, so that answers can be compared.
const simulatedTime = 1_750_000_000

var openai = family{
	errors:    openaiErrors,
	errorBody: openaiErrorBody,
	lineEnd:   "\n",
	errorEvents: func(_ *call, e simulatedError, _ int) []event {
		return []event{{data: encode(openaiErrorBody(e, 0))}}
	},
}

func openaiErrorBody(e simulatedError, _ time.Duration) any {
	return object{"error": object{"message": e.message, "type": e.kind, "param": nil, "code": orNull(e.code)}}
}

var openaiErrors = map[string]simulatedError{
	FaultRateLimited:   {429, "requests", "rate_limit_exceeded", "Rate limit reached for this model. Limit: 3 / min."},
	FaultQuota:         {429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."},
	FaultInvalidKey:    {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided. You can find your API key in the simulator's config."},
	FaultNoPermission:  {403, "invalid_request_error", "insufficient_permissions", "You have insufficient permissions for this operation."},
	FaultNotFound:      {404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."},
	FaultError:         {500, "server_error", "", "The server had an error while processing your request. Sorry about that!"},
	FaultUnavailable:   {503, "server_error", "", "The service is temporarily unavailable."},
	FaultOverloaded:    {503, "server_error", "server_is_overloaded", "The server is overloaded. Please try again later."},
	FaultContextLength: {400, "invalid_request_error", "context_length_exceeded", "This model's maximum context length is 128 tokens. Please reduce the length of the messages."},
	FaultContentFilter: {400, "invalid_request_error", "content_policy_violation", "Your request was rejected as a result of our safety system."},
}

type object = map[string]any

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own values always encode
	}
	return string(text)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func modelOpenAI(id string) object {
	return object{"id": id, "object": "model", "created": simulatedTime, "owned_by": "simulator"}
}

func listOpenAI(models []string) any {
	data := make([]object, len(models))
	for i, model := range models {
		data[i] = modelOpenAI(model)
	}
	return object{"object": "list", "data": data}
}

// output is the number of tokens of an answer: its chunks.
func (c *call) output() int {
	if c.tool != "" {
		return len(c.argumentPieces())
	}
	return c.pace.chunks
}

func chatUsage(c *call) object {
	return object{
		"prompt_tokens": c.input, "completion_tokens": c.output(), "total_tokens": c.input + c.output(),
		"prompt_tokens_details":     object{"cached_tokens": 0, "audio_tokens": 0},
		"completion_tokens_details": object{"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
	}
}

func chatPlain(c *call) any {
	message, finish := object{"role": "assistant", "content": c.text(), "refusal": nil}, "stop"
	if c.tool != "" {
		message["content"], finish = nil, "tool_calls"
		message["tool_calls"] = []object{{"id": "call_sim", "type": "function", "function": object{"name": c.tool, "arguments": c.arguments}}}
	}
	return object{
		"id": "chatcmpl-sim", "object": "chat.completion", "created": simulatedTime, "model": c.model,
		"choices": []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": finish}},
		"usage":   chatUsage(c), "service_tier": "default", "system_fingerprint": "fp_sim",
	}
}

// wantsUsage reports whether the client asked for the usage of a stream. Then
// every chunk has the field, and one more at the end has the numbers.
func (c *call) wantsUsage() bool {
	options, _ := c.body["stream_options"].(map[string]any)
	return options["include_usage"] == true
}

// usageChunk is the chunk that has the usage, and no choice.
func usageChunk(c *call, id, kind string) event {
	return event{kind: closing, data: encode(object{
		"id": id, "object": kind, "created": simulatedTime, "model": c.model, "choices": []object{}, "usage": chatUsage(c),
	})}
}

func chatEvents(c *call) []event {
	chunk := func(k kind, delta object, finish any) event {
		value := object{
			"id": "chatcmpl-sim", "object": "chat.completion.chunk", "created": simulatedTime, "model": c.model, "system_fingerprint": "fp_sim",
			"choices": []object{{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}},
		}
		if c.wantsUsage() {
			value["usage"] = nil
		}
		return event{data: encode(value), kind: k}
	}
	events := []event{chunk(prelude, object{"role": "assistant", "content": "", "refusal": nil}, nil)}
	finish := "stop"
	if c.tool != "" {
		finish = "tool_calls"
		events = append(events, chunk(content, object{"tool_calls": []object{{
			"index": 0, "id": "call_sim", "type": "function", "function": object{"name": c.tool, "arguments": ""},
		}}}, nil))
		for _, piece := range c.argumentPieces() {
			events = append(events, chunk(content, object{"tool_calls": []object{{"index": 0, "function": object{"arguments": piece}}}}, nil))
		}
	} else {
		for _, text := range c.chunks() {
			events = append(events, chunk(content, object{"content": text}, nil))
		}
	}
	events = append(events, chunk(closing, object{}, finish))
	if c.wantsUsage() {
		events = append(events, usageChunk(c, "chatcmpl-sim", "chat.completion.chunk"))
	}
	return append(events, event{data: "[DONE]", kind: terminator})
}

func completionPlain(c *call) any {
	return object{
		"id": "cmpl-sim", "object": "text_completion", "created": simulatedTime, "model": c.model,
		"choices": []object{{"index": 0, "text": c.text(), "logprobs": nil, "finish_reason": "stop"}},
		"usage":   chatUsage(c),
	}
}

func completionEvents(c *call) []event {
	var events []event
	chunk := func(k kind, text string, finish any) event {
		value := object{
			"id": "cmpl-sim", "object": "text_completion", "created": simulatedTime, "model": c.model,
			"choices": []object{{"index": 0, "text": text, "logprobs": nil, "finish_reason": finish}},
		}
		if c.wantsUsage() {
			value["usage"] = nil
		}
		return event{kind: k, data: encode(value)}
	}
	for _, text := range c.chunks() {
		events = append(events, chunk(content, text, nil))
	}
	events = append(events, chunk(closing, "", "stop"))
	if c.wantsUsage() {
		events = append(events, usageChunk(c, "cmpl-sim", "text_completion"))
	}
	return append(events, event{data: "[DONE]", kind: terminator})
}

// vector is the embedding of everything.
var vector = []float32{0.25, -0.5, 0.125, 0.75}

func embeddings(c *call) any {
	var value any = vector
	if c.body["encoding_format"] == "base64" {
		raw := make([]byte, 0, 4*len(vector))
		for _, x := range vector {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		value = base64.StdEncoding.EncodeToString(raw)
	}
	inputs, ok := c.body["input"].([]any)
	if !ok {
		inputs = []any{c.body["input"]}
	}
	data := make([]object, len(inputs))
	for i := range inputs {
		data[i] = object{"object": "embedding", "index": i, "embedding": value}
	}
	return object{"object": "list", "data": data, "model": c.model, "usage": object{"prompt_tokens": c.input, "total_tokens": c.input}}
}

func moderation(c *call) any {
	return object{"id": "modr-sim", "model": c.model, "results": []object{{"flagged": false, "categories": object{}, "category_scores": object{}}}}
}

func image(c *call) any {
	return object{
		"created": simulatedTime, "data": []object{{"b64_json": "iVBORw0KGgo="}},
		"usage": object{"input_tokens": c.input, "output_tokens": c.output(), "total_tokens": c.input + c.output(),
			"input_tokens_details": object{"text_tokens": c.input, "image_tokens": 0}},
	}
}

func transcription(c *call) any {
	return object{"text": c.text(), "usage": object{"type": "tokens", "input_tokens": 10, "output_tokens": c.output(), "total_tokens": 10 + c.output(),
		"input_token_details": object{"text_tokens": 0, "audio_tokens": 10}}}
}
