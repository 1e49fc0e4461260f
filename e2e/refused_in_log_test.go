// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Every answer's request id is found in the access log with what became of the
// call, also where limits in front refused it.
func TestRefusalsAreFoundInTheAccessLog(t *testing.T) {
	g := start(t, strings.NewReplacer(
		"http://127.0.0.1:GATEWAY {", "http://127.0.0.1:GATEWAY {\n\tlog",
		"rate_limit global 5 1m", "rate_limit global 2 1m",
		"rate_limit ip 3 1m", "rate_limit ip 1 1m",
	).Replace(layered))
	for _, call := range []struct{ address, key, outcome, code string }{
		{"127.0.0.2", clientKey, "ok", ""},
		{"127.0.0.2", clientKey, "refused", "rate_limit_exceeded"},
		{"127.0.0.3", "wrong", "refused", "invalid_api_key"},
		{"127.0.0.4", clientKey, "refused", "service_busy"},
	} {
		res, text := g.call(t, call.address, call.key, "/v1/chat/completions", chatBody)
		id := res.Header.Get("X-Request-Id")
		if call.outcome == "ok" { // the provider's own
			id = ""
		}
		fields := g.awaitAccess(t, id, call.outcome)
		if code, _ := fields["llm_code"].(string); code != call.code || fields["request_id"] == "" {
			t.Errorf("%s: the client got %d %s, the access log has %v", call.address, res.StatusCode, text, fields)
		}
	}
}

// awaitAccess waits for the line of the access log with a request id and an
// outcome. Without an id, any does.
func (g *gateway) awaitAccess(t *testing.T, id, outcome string) map[string]any {
	t.Helper()
	for range 500 {
		for line := range strings.Lines(g.Output()) {
			var fields map[string]any
			if !strings.Contains(line, `"logger":"http.log.access`) || json.Unmarshal([]byte(line), &fields) != nil {
				continue
			}
			if fields["llm_outcome"] == outcome && (id == "" || fields["request_id"] == id) {
				return fields
			}
		}
		time.Sleep(20 * time.Millisecond) // another process writes the log
	}
	t.Fatalf("the access log has no %s with the id %q", outcome, id)
	return nil
}
