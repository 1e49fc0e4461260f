// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/internal/gatewaytest"
)

// Through a whole Caddy Azure gets Entra's token, and another when it does not
// take that any more.
func TestAzureBehindTheGateway(t *testing.T) {
	e := newEntra(t, func(url.Values) error { return nil })
	t.Setenv("TEST_SECRET", "canary-secret")
	var shown []string
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization")+r.Header.Get("Api-Key"))
		w.Header().Set("Content-Type", "application/json")
		if len(shown) == 2 {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":"401","message":"Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired."}}`)
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}))
	defer provider.Close()
	g := gatewaytest.Start(t, fmt.Sprintf(`llm_proxy {
		anonymous
		provider azure %s {
			key {
				credentials azure {
					tenant_id     %s
					client_id     %s
					client_secret {env.TEST_SECRET}
					authority     %s
				}
			}
		}
	}`, provider.URL, tenant, client, e.URL))
	for range 2 {
		res, err := http.Post(g.URL+"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "application/json",
			strings.NewReader(`{"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("got %d %s", res.StatusCode, text)
		}
	}
	if want := "Bearer token-1 Bearer token-1 Bearer token-2"; strings.Join(shown, " ") != want {
		t.Errorf("Azure was shown %q", shown)
	}
	if log := g.Log(t); strings.Contains(log, "canary") || strings.Contains(log, "token-1") {
		t.Errorf("a secret shows in the log:\n%s", log)
	}
}

// What the documentation shows can be loaded.
func TestDocumentedConfigs(t *testing.T) {
	alone(t)
	t.Setenv("AZURE_TENANT", tenant)
	t.Setenv("AZURE_CLIENT", client)
	t.Setenv("AZURE_SECRET", "canary")
	gatewaytest.CheckSnippets(t, "../../docs/reference/credentials.md", "azure")
}
