// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const severalModels = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		client intern INTERN {
			models gpt-4o-mini fast claude-haiku*
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		provider acme http://127.0.0.1:SIM {
			key sim-good
		}
		provider anthropic http://127.0.0.1:SIM {
			key sim-good
		}
		provider gemini http://127.0.0.1:SIM {
			key sim-good
		}
		model gpt-4o openai acme
		model gpt-4o-mini openai
		model fast acme/llama-3 anthropic/claude-haiku-4-5
		model claude-opus-4-1 anthropic
		model gemini-* gemini
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
		models of-the-provider
	}
}
`

// A client that asks for the list of models gets those that it may use, of all
// providers, under the names by which it may ask for them. Where a pattern
// leaves the names open, the provider is asked.
func TestModelsAreListedOfTheConfig(t *testing.T) {
	const internKey = "clp-canary-intern"
	g := start(t, strings.Replace(severalModels, "INTERN", hash(internKey), 1))
	list := func(key, path, header, value string) (ids []string) {
		t.Helper()
		req := g.newRequest(t, "GET", path, "")
		req.Header.Set("Authorization", "Bearer "+key)
		if header != "" {
			req.Header.Set(header, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		status, text := readAll(t, res)
		var body struct {
			Data   []struct{ ID string }
			Models []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(text), &body); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		for _, model := range body.Data {
			ids = append(ids, model.ID)
		}
		for _, model := range body.Models {
			ids = append(ids, model.Name)
		}
		return ids
	}
	const anthropic, version = "Anthropic-Version", "2023-06-01"
	for _, test := range []struct {
		key, path, header, value string
		want                     []string
	}{
		{clientKey, "/v1/models", "", "", []string{"gpt-4o", "gpt-4o-mini", "fast"}},
		{internKey, "/v1/models", "", "", []string{"gpt-4o-mini", "fast"}},
		{clientKey, "/v1/models", anthropic, version, []string{"fast", "claude-opus-4-1"}},
		{internKey, "/v1/models", anthropic, version, []string{"fast"}},
		{clientKey, "/v1beta/models", "", "", []string{"models/of-the-provider"}},
	} {
		if got := list(test.key, test.path, test.header, test.value); !slices.Equal(got, test.want) {
			t.Errorf("%s %s: got %v, want %v", test.path, test.value, got, test.want)
		}
	}
	if asked := g.asked(t); asked[fingerprint("sim-good")] != 1 {
		t.Errorf("the provider was asked %v", asked)
	}
	// What the list does not show is not there, and nobody is asked for it.
	for _, test := range []struct{ key, path string }{
		{clientKey, "/v1/models/o1"}, {internKey, "/v1/models/gpt-4o"}, {clientKey, "/v1/models/of-the-provider"},
	} {
		req := g.newRequest(t, "GET", test.path, "")
		req.Header.Set("Authorization", "Bearer "+test.key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if status, text := readAll(t, res); status != http.StatusNotFound || !strings.Contains(text, `"code":"model_not_found"`) {
			t.Errorf("%s: got %d %s", test.path, status, text)
		}
	}
	if asked := g.asked(t); asked[fingerprint("sim-good")] != 1 {
		t.Errorf("the provider was asked %v", asked)
	}
	if calls := g.awaitCalls(t, 5); calls[0]["llm_outcome"] != "ok" || calls[0]["status"] != 200.0 {
		t.Errorf("got %v", calls[0])
	}
	if status, text := g.do(t, "POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", "fast", 1)); status != 200 {
		t.Errorf("a model of the list is not served: %d %s", status, text)
	}
}
