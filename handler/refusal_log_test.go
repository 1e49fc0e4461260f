// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// Whoever comes without a key is told where it belongs, as the SDK of the
// family sends it.
func TestMissingKeyNamesTheFamilysHeader(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}})
	for name, header := range map[string]string{
		"openai": "Authorization: Bearer <key>", "anthropic": "X-Api-Key: <key>", "gemini": "X-Goog-Api-Key: <key>",
		"azure": "Api-Key: <key>", "bedrock": "Authorization: Bearer <key>", "cohere": "Authorization: Bearer <key>",
		"ollama": "Authorization: Bearer <key>", "dashscope": "Authorization: Bearer <key>",
	} {
		r := request(pathOf[name], chat)
		wire.StripCredentials(r.Header)
		w, passed, _ := serve(h, r)
		if passed || w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "as in '"+header+"'") {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}

// The line about a call does not say what nobody has read.
func TestRefusedLineLeavesOutWhatIsUnknown(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}})
	h.logger = zap.New(core)
	for _, test := range []struct {
		path, body    string
		known         bool
		model, stream any
	}{
		{"/v1/chat/completions", `{"model":"m"}`, true, "m", false},
		{"/v1/chat/completions", `{"model":"m","stream":true}`, true, "m", true},
		{"/v1/chat/completions", `{"model":"m"}`, false, nil, nil},
		{"/v1/chat/completions", `{"model":`, true, nil, nil},
		{"/v1beta/models/g:streamGenerateContent", `{}`, false, "g", true},
		{"/v1beta/models/g:generateContent", `{}`, false, "g", nil},
	} {
		r := request(test.path, test.body)
		if !test.known {
			wire.StripCredentials(r.Header)
		}
		if _, _, err := serve(h, r); err != nil {
			t.Fatal(err)
		}
		lines := logs.TakeAll()
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		fields := lines[0].ContextMap()
		if fields["llm_model"] != test.model || fields["llm_stream"] != test.stream || fields["request_id"] == "" {
			t.Errorf("%+v: got %v", test, fields)
		}
	}
}

// The line about a call whose key or token was refused says why, in a word of
// ours, and nothing of what came.
func TestRefusedLineSaysWhyATokenWas(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	issuer, stranger := newIssuer(t, "https://id.example"), newIssuer(t, "https://id.example")
	h := newHandler(t, &Handler{Callers: Callers{JWT: []*JWT{issuer.jwt(Claims{LimitsClaim: "limits"})}, Clients: []*Client{newClient(t)}}})
	h.logger = zap.New(core)
	for name, test := range map[string]struct{ token, reason string }{
		"expired":        {issuer.sign("alice", `{"exp":1000000000}`), "expired"},
		"audience":       {issuer.sign("alice", `{"aud":"canary"}`), "audience"},
		"issuer":         {newIssuer(t, "https://canary.example").sign("alice", ""), "issuer"},
		"signature":      {stranger.sign("alice", ""), "signature"},
		"claims":         {issuer.sign("alice", `{"limits":7}`), "claims"},
		"no token":       {"sk-canary-0123456789", "unknown_key"},
		"nothing at all": {"", "missing"},
	} {
		r := bearing(test.token, chat)
		if test.token == "" {
			wire.StripCredentials(r.Header)
		}
		if w, _, _ := serve(h, r); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), test.reason+`"`) {
			t.Errorf("%s: the client got %d %s", name, w.Code, w.Body)
		}
		lines := logs.FilterMessage("call").All()
		logs.TakeAll()
		if len(lines) != 1 {
			t.Fatalf("%s: %d lines", name, len(lines))
		}
		fields := lines[0].ContextMap()
		if fields["llm_auth_reason"] != test.reason || fields["request_id"] == "" || fields["llm_code"] != "invalid_api_key" {
			t.Errorf("%s: got %v", name, fields)
		}
		for _, value := range fields {
			if text, _ := value.(string); strings.Contains(text, "canary") || test.token != "" && strings.Contains(text, test.token) {
				t.Errorf("%s: the line repeats what came: %q", name, text)
			}
		}
	}
	if _, passed, _ := serve(h, bearing(issuer.sign("alice", ""), chat)); !passed {
		t.Fatal("a good token was refused")
	}
	if _, said := logs.FilterMessage("call").TakeAll()[0].ContextMap()["llm_auth_reason"]; said {
		t.Error("a call that was let in has a reason")
	}
}

// A good key is not looked at after too many wrong ones, and the line says that
// this is why.
func TestRefusedLineTellsOfTooManyWrongKeys(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	h := newHandler(t, &Handler{Callers: Callers{
		Clients: []*Client{newClient(t)}, AuthFailures: &AuthFailures{Limit: 1, Window: caddy.Duration(time.Minute)},
	}})
	h.logger = zap.New(core)
	for _, test := range []struct {
		wrong        bool
		code, reason string
	}{
		{true, "invalid_api_key", "unknown_key"}, {false, "rate_limit_exceeded", "auth_failures"},
	} {
		r := request("/v1/chat/completions", chat)
		if test.wrong {
			r.Header.Set("Authorization", "Bearer wrong")
		}
		r.RemoteAddr = "192.0.2.77:1234"
		if _, _, err := serve(h, r); err != nil {
			t.Fatal(err)
		}
		fields := logs.TakeAll()[0].ContextMap()
		if fields["llm_code"] != test.code || fields["llm_auth_reason"] != test.reason {
			t.Errorf("got %v, want %+v", fields, test)
		}
	}
}

// So does a line of llm_auth, which has none about calls.
func TestAuthenticatorSaysWhyATokenWasRefused(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	issuer := newIssuer(t, "https://id.example")
	a := &Authenticator{Callers: Callers{JWT: []*JWT{issuer.jwt(Claims{})}}}
	if err := a.Provision(newContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	a.logger = zap.New(core)
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(bearing(issuer.sign("alice", `{"exp":1000000000}`), chat), caddy.NewReplacer(), w, &caddyhttp.Server{})
	if _, ok, err := a.Authenticate(w, r); ok || err != nil {
		t.Fatalf("let in, or %v", err)
	}
	lines := logs.All()
	if len(lines) != 1 || lines[0].ContextMap()["llm_auth_reason"] != "expired" || lines[0].ContextMap()["request_id"] == "" {
		t.Errorf("got %v", lines)
	}
}
