// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"strconv"
	"time"
)

const googleTypes = "type.googleapis.com/google.rpc."

// gemini is Google's API. In its errors the code is the reason of an
// ErrorInfo, and a wait stands in a RetryInfo instead of a header.
var gemini = family{
	errors: map[string]simulatedError{
		FaultRateLimited:   {429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "You exceeded your current rate limit."},
		FaultQuota:         {429, "RESOURCE_EXHAUSTED", "", "You exceeded your current quota, please check your plan and billing details. limit: 0"},
		FaultInvalidKey:    {400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key."},
		FaultNoPermission:  {403, "PERMISSION_DENIED", "", "The caller does not have permission"},
		FaultNotFound:      {404, "NOT_FOUND", "", "models/unknown is not found for API version v1beta, or is not supported for generateContent."},
		FaultError:         {500, "INTERNAL", "", "An internal error has occurred."},
		FaultUnavailable:   {503, "UNAVAILABLE", "", "The service is currently unavailable."},
		FaultOverloaded:    {503, "UNAVAILABLE", "", "The model is overloaded. Please try again later."},
		FaultContextLength: {400, "INVALID_ARGUMENT", "", "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."},
		FaultContentFilter: {400, "INVALID_ARGUMENT", "", "The prompt was blocked by a safety filter."},
	},
	errorBody:  geminiErrorBody,
	waitInBody: true,
	lineEnd:    "\r\n",
	errorEvents: func(_ *call, e simulatedError, _ int) []event {
		return []event{{bare: true, data: encode(geminiErrorBody(e, 0))}}
	},
}

func geminiErrorBody(e simulatedError, wait time.Duration) any {
	status := object{"code": e.status, "message": e.message, "status": e.kind}
	var details []object
	if e.code != "" {
		details = append(details, object{"@type": googleTypes + "ErrorInfo", "reason": e.code, "domain": "googleapis.com"})
	}
	if wait > 0 {
		seconds := strconv.FormatFloat(wait.Seconds(), 'f', -1, 64) + "s"
		details = append(details, object{"@type": googleTypes + "RetryInfo", "retryDelay": seconds})
	}
	if len(details) > 0 {
		status["details"] = details
	}
	return object{"error": status}
}

func modelGemini(id string) object {
	return object{"name": "models/" + id, "displayName": id, "supportedGenerationMethods": []string{"generateContent", "countTokens"}}
}

func listGemini(models []string) any {
	list := make([]object, len(models))
	for i, model := range models {
		list[i] = modelGemini(model)
	}
	return object{"models": list}
}

// generated is one piece of an answer. A finish of "" means more is to come.
func generated(c *call, part object, finish string, output int) object {
	candidate := object{"content": object{"parts": []object{part}, "role": "model"}, "index": 0}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	return object{
		"candidates": []object{candidate}, "modelVersion": c.model, "responseId": "sim",
		"usageMetadata": object{"promptTokenCount": c.input, "candidatesTokenCount": output, "totalTokenCount": c.input + output},
	}
}

func (c *call) functionCall() object {
	return object{"functionCall": object{"name": c.tool, "args": json.RawMessage(c.arguments)}}
}

func generatePlain(c *call) any {
	part := object{"text": c.text()}
	if c.tool != "" {
		part = c.functionCall()
	}
	return generated(c, part, "STOP", c.output())
}

func generateEvents(c *call) []event {
	var parts []object
	if c.tool != "" {
		parts = append(parts, c.functionCall())
	} else {
		for _, text := range c.chunks() {
			parts = append(parts, object{"text": text})
		}
	}
	var events []event
	for i, part := range parts {
		events = append(events, event{kind: content, data: encode(generated(c, part, "", i+1))})
	}
	return append(events, event{kind: terminator, data: encode(generated(c, object{"text": ""}, "STOP", c.output()))})
}

func embedContent(*call) any { return object{"embedding": object{"values": vector}} }

func batchEmbedContents(c *call) any {
	requests, _ := c.body["requests"].([]any)
	list := make([]object, len(requests))
	for i := range list {
		list[i] = object{"values": vector}
	}
	return object{"embeddings": list}
}
