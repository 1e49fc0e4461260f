// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"strings"
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
		"bedrock":   `{"__type":"ThrottlingException","message":"wait <a \"moment\">","reason":"rate_limit_exceeded","retry_after":2,"requestId":"r1"}`,
		"cohere":    `{"id":"r1","message":"wait <a \"moment\">","code":"rate_limit_exceeded","retry_after":2}`,
		"dashscope": `{"code":"rate_limit_exceeded","message":"wait <a \"moment\">","retry_after":2,"request_id":"r1"}`,
		"ollama":    `{"error":"wait <a \"moment\">","code":"rate_limit_exceeded","retry_after":2,"request_id":"r1"}`,
		"tgi":       `{"error":"wait <a \"moment\">","error_type":"rate_limit_exceeded","retry_after":2,"request_id":"r1"}`,
	} {
		family, _ := wire.Lookup(name)
		if got := string(family.ErrorBody(e)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// Whatever the family, an error says its code, for how long to wait, and which
// call it was; what is unknown is left out.
func TestErrorsOfAllFamiliesSayTheSame(t *testing.T) {
	for _, name := range wire.Names() {
		family, _ := wire.Lookup(name)
		known := string(family.ErrorBody(wire.Error{Status: 429, Code: "a_code", Message: "m", RetryAfter: 7 * time.Second, RequestID: "r1"}))
		for _, part := range []string{`"a_code"`, `"r1"`} {
			if !strings.Contains(known, part) {
				t.Errorf("%s: no %s in %s", name, part, known)
			}
		}
		if !strings.Contains(known, `"retry_after":7`) && !strings.Contains(known, `"retryDelay":"7s"`) {
			t.Errorf("%s: no wait in %s", name, known)
		}
		if bare := string(family.ErrorBody(wire.Error{Status: 400, Code: "a_code", Message: "m"})); strings.Contains(strings.ToLower(bare), "retry") {
			t.Errorf("%s: a wait that is unknown in %s", name, bare)
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
