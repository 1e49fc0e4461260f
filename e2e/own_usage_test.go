// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

// A client may ask any instance what it has used at all of them: as many
// tokens as its answers have stated. The gateway keeps its hands off the key.
func TestOwnUsage(t *testing.T) {
	gateways := startTwo(t, redistest.Start(t), "allow", limited("limit tokens 100000 day")+"usage_endpoint")
	used := 0
	for i := range 6 {
		_, text := gateways[i%2].call(t, "127.0.0.1", clientKey, "/v1/chat/completions", boundedBody)
		used += usageOf(t, text)
	}
	ask := func(g *gateway, key string) (int, string) {
		req := g.newRequest(t, "GET", "/llm/usage", "")
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return readAll(t, res)
	}
	for _, g := range gateways {
		var got struct {
			ID     string
			Limits []struct{ Used, Remaining int }
			Usage  map[string]map[string]float64
		}
		var status int
		var text string
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			status, text = ask(g, clientKey)
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("got %d %s", status, text)
			}
			// The last call is settled when its answer has been read.
			if got.Usage["month"]["requests"] == 6 || time.Now().After(end) {
				break
			}
		}
		tokens := int(got.Usage["day"]["input_tokens"] + got.Usage["day"]["output_tokens"])
		if got.ID != "app" || len(got.Limits) != 1 || got.Limits[0].Used != used || got.Limits[0].Remaining != 100000-used || tokens != used {
			t.Errorf("after %d tokens: %s", used, text)
		}
		if strings.Contains(text, "canary") {
			t.Errorf("the answer holds the key: %s", text)
		}
		if status, text := ask(g, "wrong"); status != http.StatusUnauthorized || !strings.Contains(text, "invalid_api_key") {
			t.Errorf("a wrong key: %d %s", status, text)
		}
	}
}
