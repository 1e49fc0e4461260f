// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A provider that needs no key is asked without one, and without the client's;
// all else is as with a key.
func TestProviderWithoutAKey(t *testing.T) {
	for name, p := range map[string]*Provider{
		"said":            {Name: "local", Keys: []*Key{{None: true, MaxInFlight: 1}}},
		"said, elsewhere": {Name: "openai", Keys: []*Key{{None: true, ID: "gpu"}}},
		"of its family":   {Name: "claude", API: "anthropic", Keys: []*Key{{None: true}}},
		"a known server":  {Name: "vllm"},
		"with a header":   {Name: "own", Keys: []*Key{{None: true}}, AuthHeader: &AuthHeader{Name: "X-Token"}},
	} {
		t.Run(name, func(t *testing.T) {
			const failure = `{"error":{"message":"no model of that name"}}`
			up := scripted(t,
				func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 500, `{"error":{"message":"try again"}}`) },
				func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) },
				func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 400, failure) })
			p.BaseURL = up.URL
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
			path := map[bool]string{true: "/v1/messages", false: "/v1/chat/completions"}[p.API == "anthropic"]
			for nth, want := range []string{chatAnswer, failure} {
				res, call := post(t, context.Background(), tr, path, chatBody)
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(text) != want {
					t.Errorf("call %d: %v, got %s", nth, err, text)
				}
				if id := call.KeyID; id != "none" && id != "gpu" {
					t.Errorf("the key is called %q", id)
				}
			}
			for _, asked := range up.requests() {
				for field, values := range asked.header {
					if strings.Contains(strings.ToLower(field), "auth") || strings.Contains(strings.ToLower(field), "key") || strings.Contains(strings.ToLower(field), "token") {
						t.Errorf("%s: %v", field, values)
					}
				}
				if p.API == "anthropic" && asked.header.Get("Anthropic-Version") == "" {
					t.Errorf("no version: %v", asked.header)
				}
			}
		})
	}
}

// Where keys are needed, none is a mistake.
func TestProviderThatNeedsAKey(t *testing.T) {
	for name, test := range map[string]struct {
		provider *Provider
		want     string
	}{
		"hosted":               {&Provider{Name: "openai"}, "no key: a provider needs at least one"},
		"hosted, by address":   {&Provider{Name: "mine", BaseURL: "https://api.groq.com/openai/v1"}, "no key: a provider needs at least one"},
		"said of a hosted one": {&Provider{Name: "mine", BaseURL: "https://api.groq.com/openai/v1", Keys: []*Key{{None: true}}}, "groq answers nobody without a key"},
		"a server's name only": {&Provider{Name: "vllm", BaseURL: "https://api.openai.com/v1"}, "no key: a provider needs at least one"},
		"unknown":              {&Provider{Name: "mine", BaseURL: "http://127.0.0.1:8000"}, "if it answers without, say 'key none'"},
		"and others":           {&Provider{Name: "mine", BaseURL: "http://127.0.0.1:8000", Keys: []*Key{{None: true}, {Secret: "a"}}}, "there are no other keys"},
		"and a list":           {&Provider{Name: "mine", BaseURL: "http://127.0.0.1:8000", Keys: []*Key{{None: true}}, KeyLists: []string{"a"}}, "there are no other keys"},
		"and a file":           {&Provider{Name: "mine", BaseURL: "http://127.0.0.1:8000", Keys: []*Key{{None: true}}, KeysFile: "keys"}, "there are no other keys"},
		"and a secret":         {&Provider{Name: "mine", BaseURL: "http://127.0.0.1:8000", Keys: []*Key{{None: true, Secret: "a"}}}, "has neither a secret nor credentials"},
		"the word":             {&Provider{Name: "mine", BaseURL: "http://127.0.0.1:8000", KeyLists: []string{"none"}}, "the word none is no secret"},
		"a list of nothing":    {&Provider{Name: "ollama", KeyLists: []string{" "}}, "no key: a provider needs at least one"},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		tr := &Transport{Providers: []*Provider{test.provider}}
		if err := tr.Provision(ctx); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
		_ = tr.Cleanup()
		cancel()
	}
}
