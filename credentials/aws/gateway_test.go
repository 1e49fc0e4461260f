// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/gatewaytest"
)

// Through a whole Caddy a call arrives signed as it is sent, and one that is
// refused as its session is over is sent again with another, at no cost to the
// key.
func TestBedrockBehindTheGateway(t *testing.T) {
	alone(t)
	t.Setenv("TEST_AWS_SECRET", "canary-secret")
	sessions := 0
	issuer := newService(t, map[string]string{"AKIATEST": "canary-secret"}, func(w http.ResponseWriter, _ *http.Request) {
		sessions++
		fmt.Fprintf(w, roleAnswer, "AssumeRole", sessions, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	t.Setenv("AWS_ENDPOINT_URL_STS", issuer.URL)
	over := "canary-session-1"
	bedrock := newService(t, map[string]string{"ASIALENT": "canary-lent"}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("X-Amz-Security-Token") == over {
			w.Header().Set("X-Amzn-Errortype", "ExpiredTokenException:http://internal.amazon.com/coral/com.amazon.coral.service/")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"The security token included in the request is expired"}`)
			return
		}
		_, _ = io.WriteString(w, `{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`)
	})
	g := gatewaytest.Start(t, `llm_proxy {
		anonymous
		provider bedrock `+bedrock.URL+` {
			key {
				id lent
				credentials aws {
					access_key_id     AKIATEST
					secret_access_key {env.TEST_AWS_SECRET}
					role_arn          arn:aws:iam::1:role/r
					region            eu-central-1
				}
			}
		}
		model claude bedrock/eu.anthropic.claude-sonnet-4-20250514-v1:0
		model * bedrock
	}`)
	for path, want := range map[string]string{
		"/model/claude/converse": "/model/eu.anthropic.claude-sonnet-4-20250514-v1%3A0/converse",
		"/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Aprofile%2Fx/converse": "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Aprofile%2Fx/converse",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+path, strings.NewReader(`{"messages":[{"role":"user","content":[{"text":"hi"}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=whoever, SignedHeaders=host, Signature=0")
		req.Header.Set("X-Amz-Date", "20150830T123600Z")
		req.Header.Set("X-Amz-Security-Token", "the client's")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: got %d %s", path, res.StatusCode, text)
		}
		got := <-bedrock.requests
		if got.token == over {
			got = <-bedrock.requests
		}
		if got.uri != want || got.token != "canary-session-2" || !strings.HasSuffix(got.scope, "/eu-central-1/bedrock/aws4_request") {
			t.Errorf("%s: Bedrock was asked %s in %s with %s", path, got.uri, got.scope, got.token)
		}
	}
	if sessions != 2 {
		t.Errorf("%d sessions", sessions)
	}
	log := g.Log(t)
	if strings.Contains(log, "canary") || !strings.Contains(log, `"class":"stale"`) {
		t.Errorf("the log says\n%s", log)
	}
}

// What the documentation shows can be loaded.
func TestDocumentedConfigs(t *testing.T) {
	alone(t)
	gatewaytest.CheckSnippets(t, "../../docs/reference/credentials.md", "aws")
}
