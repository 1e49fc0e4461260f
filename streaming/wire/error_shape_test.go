// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func TestErrorsHaveTheFamilysShape(t *testing.T) {
	e := wire.Error{Status: 429, Code: "rate_limit_exceeded", Message: `wait <a "moment">`, RetryAfter: 1500 * time.Millisecond, RequestID: "r1"}
	for name, want := range map[string]string{
		"openai":    `{"error":{"message":"wait <a \"moment\">","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded","retry_after":2},"request_id":"r1"}`,
		"anthropic": `{"type":"error","error":{"type":"rate_limit_error","message":"wait <a \"moment\">","code":"rate_limit_exceeded","retry_after":2},"request_id":"r1"}`,
		"gemini": `{"error":{"code":429,"message":"wait <a \"moment\">","status":"RESOURCE_EXHAUSTED","details":[` +
			`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"rate_limit_exceeded"},` +
			`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"},` +
			`{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"r1"}]}}`,
	} {
		family, _ := wire.Lookup(name)
		if got := string(family.ErrorBody(e)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestErrorKindFollowsTheStatus(t *testing.T) {
	kinds := map[int]map[string]string{
		400: {"openai": "invalid_request_error", "anthropic": "invalid_request_error", "gemini": "INVALID_ARGUMENT"},
		401: {"openai": "authentication_error", "anthropic": "authentication_error", "gemini": "UNAUTHENTICATED"},
		403: {"openai": "permission_error", "anthropic": "permission_error", "gemini": "PERMISSION_DENIED"},
		404: {"openai": "not_found_error", "anthropic": "not_found_error", "gemini": "NOT_FOUND"},
		413: {"openai": "invalid_request_error", "anthropic": "request_too_large", "gemini": "INVALID_ARGUMENT"},
		500: {"openai": "server_error", "anthropic": "api_error", "gemini": "INTERNAL"},
		503: {"openai": "server_error", "anthropic": "overloaded_error", "gemini": "UNAVAILABLE"},
		504: {"openai": "server_error", "anthropic": "timeout_error", "gemini": "DEADLINE_EXCEEDED"},
	}
	for status, families := range kinds {
		for name, want := range families {
			family, _ := wire.Lookup(name)
			var got struct{ Error struct{ Type, Status string } }
			if err := json.Unmarshal(family.ErrorBody(wire.Error{Status: status}), &got); err != nil {
				t.Fatal(err)
			}
			if got.Error.Type+got.Error.Status != want {
				t.Errorf("%s %d: got %s%s, want %s", name, status, got.Error.Type, got.Error.Status, want)
			}
		}
	}
}
