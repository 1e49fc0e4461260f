// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
)

const opaque = "canary-opaque-token"

// asking returns a handler that asks an endpoint about tokens.
func asking(t *testing.T, endpoint http.HandlerFunc, claims Claims, jwt ...*JWT) *Handler {
	t.Helper()
	server := httptest.NewServer(endpoint)
	t.Cleanup(server.Close)
	return newHandler(t, &Handler{Callers: Callers{
		JWT: jwt,
		Introspection: &Introspection{
			URL: server.URL, ClientID: "gateway", ClientSecret: "canary-secret", Audience: []string{"llm"}, Claims: claims,
		},
	}})
}

// Whatever an endpoint answers, what it does not say clearly judges no token;
// and neither the token nor the secret shows in what is said of it.
func TestAnswersOfAnEndpoint(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with %s", r.FormValue("token"))
	}))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		endpoint http.HandlerFunc
		judged   bool
	}{
		"good":              {answer(200, `{"active":true,"sub":"alice","aud":["llm"]}`), true},
		"for somebody else": {answer(200, `{"active":true,"sub":"alice","aud":"other"}`), true},
		"not active":        {answer(200, `{"active":false}`), true},
		"error":             {answer(500, opaque), false},
		"of the request":    {answer(400, `{"error":"invalid_request"}`), false},
		"not allowed":       {answer(401, opaque), false},
		"too many":          {answer(429, ""), false},
		"a page":            {answer(200, "<html>"+opaque), false},
		"endless":           {answer(200, `{"active":true,"x":"`+strings.Repeat("x", maxAnswer)+`"}`), false},
		"somewhere else": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"?token="+opaque, http.StatusTemporaryRedirect)
		}, false},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	} {
		h := asking(t, test.endpoint, Claims{})
		core, logs := observer.New(zap.DebugLevel)
		h.logger = zap.New(core)
		_, err := h.find(t.Context(), opaque)
		if unjudged := errors.Is(err, auth.ErrUnjudged); unjudged == test.judged || (name == "good") != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			checkPassed(t, h, bearing(opaque, chat))
			continue
		}
		want, code := http.StatusServiceUnavailable, "auth_unavailable"
		if test.judged {
			want, code = http.StatusUnauthorized, "invalid_api_key"
		}
		checkRefused(t, h, bearing(opaque, chat), want, code)
		for _, entry := range logs.All() {
			if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "canary") {
				t.Errorf("%s: the log says %s", name, text)
			}
		}
	}
}

// A signed token is its issuer's to judge if that is known, and shown to nobody
// else; those of others may be good where they come from.
func TestSignedTokensAreNotAskedAbout(t *testing.T) {
	known, other := newIssuer(t, "https://id.example"), newIssuer(t, "https://other.example")
	asked := 0
	h := asking(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		_, _ = w.Write([]byte(`{"active":true,"aud":"llm","client":{"id":"machine"}}`))
	}, Claims{Claim: "client.id"}, known.jwt(Claims{}))
	checkPassed(t, h, bearing(known.sign("alice", ""), chat))
	checkRefused(t, h, bearing(newIssuer(t, "https://id.example").sign("alice", ""), chat), http.StatusUnauthorized, "invalid_api_key")
	if asked != 0 {
		t.Errorf("%d tokens of a known issuer were shown to another", asked)
	}
	client, err := h.find(t.Context(), other.sign("alice", ""))
	if err != nil || client.ID != "machine" || asked != 1 {
		t.Errorf("got %+v, %v, asked %d times", client, err, asked)
	}
}

// Tokens that an issuer does not know are wrong keys like others: an address
// that comes with too many is refused before the issuer is asked again. That a
// token cannot be judged is held against nobody.
func TestUnknownTokensBlockAnAddress(t *testing.T) {
	asked, away := 0, true
	h := asking(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if away {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = w.Write([]byte(`{"active":false}`))
	}, Claims{})
	h.AuthFailures = &AuthFailures{Limit: 2, Window: caddy.Duration(time.Hour)}
	from := func(token string) *http.Request {
		r := bearing(token, chat)
		r.RemoteAddr = "203.0.113.99:1"
		return r
	}
	for n := range 3 {
		checkRefused(t, h, from(fmt.Sprint("an-opaque-token-", n)), http.StatusServiceUnavailable, "auth_unavailable")
	}
	away = false
	for n := range 2 {
		checkRefused(t, h, from(fmt.Sprint("an-opaque-token-", n)), http.StatusUnauthorized, "invalid_api_key")
	}
	checkRefused(t, h, from("an-opaque-token-9"), http.StatusTooManyRequests, "rate_limit_exceeded")
	if asked != 5 {
		t.Errorf("the issuer was asked %d times", asked)
	}
}

// A key that a client had once is not shown to the issuer either.
func TestReplacedKeyIsNotShown(t *testing.T) {
	asked := 0
	h := asking(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte(`{"active":false}`))
	}, Claims{})
	const replaced = "canary-replaced-key-of-a-client"
	h.managed.Take([]roster.Change{managedEntry(t.Name(), secret,
		fmt.Sprintf(`,"old_secrets":[{"secret":%q,"until":"2020-01-01"}]`, auth.HashSecret(replaced)))})
	checkRefused(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+replaced), http.StatusUnauthorized, "invalid_api_key")
	if asked != 0 {
		t.Error("the issuer was asked about a client's key")
	}
}
