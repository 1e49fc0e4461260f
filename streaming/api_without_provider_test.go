// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// Who calls an API of which there is no provider is told which one it is; one
// of which there is a provider has its own words for a model that is not known.
func TestPathOfAnAPIWithoutAProvider(t *testing.T) {
	tr := provision(t, &Transport{Providers: []*Provider{{Name: "ollama"}}, Models: []*ModelRoute{{Match: "llama*", Targets: []Target{{Provider: "ollama"}}}}})
	for _, test := range []struct{ method, path, body, code, says string }{
		{"POST", "/v1/chat/completions", chatBody, "unknown_path", "this path belongs to the API openai, and no provider of that API is configured"},
		{"GET", "/v1/files", "", "unknown_path", "this path belongs to the API openai, and"},
		{"POST", "/v1/messages", `{"model":"claude","max_tokens":1,"messages":[]}`, "unknown_path", "this path belongs to the API anthropic, and"},
		{"POST", "/api/chat", `{"model":"gpt-4o","messages":[]}`, "model_not_found", "gpt-4o"},
	} {
		res, call := request(t, context.Background(), tr, test.method, test.path, http.Header{"Content-Type": {"application/json"}}, test.body)
		text := make([]byte, 1<<10)
		n, _ := res.Body.Read(text)
		if res.StatusCode != http.StatusNotFound || call.Refusal != test.code || !strings.Contains(string(text[:n]), test.says) {
			t.Errorf("%s: got %d %s %s", test.path, res.StatusCode, call.Refusal, text[:n])
		}
	}
}

// A slash alone behind the host is no path. The service that has no version in
// its paths is known.
func TestSlashAloneIsNoPath(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.openai.com/":           "https://api.openai.com/v1/models",
		"https://api.perplexity.ai/":        "https://api.perplexity.ai/models",
		"https://api.perplexity.ai":         "https://api.perplexity.ai/models",
		"https://llm.example.com/":          "https://llm.example.com/v1/models",
		"https://llm.example.com/.":         "https://llm.example.com/models",
		"https://llm.example.com/team/llm/": "https://llm.example.com/team/llm/models",
	} {
		tr := provision(t, &Transport{Providers: []*Provider{pool("p", base, "a-"+t.Name())}})
		p := tr.Providers[0]
		if got := p.family.ProbeURL(p.base, "").String(); got != want {
			t.Errorf("%s: asked at %s, want %s", base, got, want)
		}
	}
}
