// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// testIssuer signs tokens.
type testIssuer struct {
	t      *testing.T
	name   string
	signer jose.Signer
	// keySet is what to verify the tokens with.
	keySet string
}

func newIssuer(t *testing.T, name string) *testIssuer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &testIssuer{t, name, signer, string(text)}
}

// sign returns a token for a subject, with more claims as JSON.
func (i *testIssuer) sign(subject, more string) string {
	i.t.Helper()
	claims := map[string]any{"iss": i.name, "aud": "llm", "exp": time.Now().Add(time.Hour).Unix()}
	if err := json.Unmarshal([]byte(cmp.Or(more, "{}")), &claims); err != nil {
		i.t.Fatal(err)
	}
	if subject != "" {
		claims["sub"] = subject
	}
	token, err := jwt.Signed(i.signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// jwt returns what trusts the issuer, whose key set is in a file.
func (i *testIssuer) jwt(claims Claims) *JWT {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(i.keySet), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return &JWT{JWKS: file, Issuer: i.name, Audience: []string{"llm"}, Claims: claims}
}

// bearing returns a call with a token.
func bearing(token, body string) *http.Request {
	return request("/v1/chat/completions", body, "Authorization", "Bearer "+token)
}

func withJWT(jwks string) []*JWT {
	return []*JWT{{JWKS: jwks, Issuer: "https://id.example", Audience: []string{"llm"}}}
}

// A token serves like a key, wherever an SDK puts it. Its client has what the
// config says of it, or what it says of everybody.
func TestTokensAsKeys(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	token, keySet := issuer.sign("alice", ""), issuer.keySet
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(keySet), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keySet)) }))
	defer server.Close()
	for name, source := range map[string]string{"file": file, "url": server.URL} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, &Handler{
				Callers:    Callers{JWT: withJWT(source), Clients: []*Client{{ID: "alice", Models: []string{"gpt-4o"}}, newClient(t)}},
				UserLimits: []*Limit{{Kind: "requests", Amount: 100, Per: "day"}},
			})
			checkPassed(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+token))
			checkPassed(t, h, request("/v1/messages", chat, "Authorization", "", "X-Api-Key", token))
			checkPassed(t, h, request("/v1/chat/completions", chat))
			checkRefused(t, h, request("/v1/chat/completions", `{"model":"o1"}`, "Authorization", "Bearer "+token), http.StatusForbidden, "model_not_allowed")
			checkRefused(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+token[:len(token)-4]), http.StatusUnauthorized, "invalid_api_key")
			if bob := h.vouchedFor(&grant{id: "bob"}); len(bob.Limits) != 1 || len(bob.Models) != 0 {
				t.Errorf("somebody else: %+v", bob)
			}
		})
	}
}

// An issuer that cannot be reached keeps nothing from starting, and makes no
// token a wrong one; keys go on as ever.
func TestIssuerAway(t *testing.T) {
	token := newIssuer(t, "https://id.example").sign("alice", "")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer server.Close()
	h := newHandler(t, &Handler{Callers: Callers{JWT: withJWT(server.URL), Clients: []*Client{newClient(t)}}})
	checkRefused(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+token), http.StatusServiceUnavailable, "auth_unavailable")
	checkPassed(t, h, request("/v1/chat/completions", chat))
}

// Whom a handler in front has named needs no key. Where it names nobody, a key
// does; and a name that is none lets nobody in.
func TestTrustedUser(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t), {ID: "bob", Models: []string{"none"}}}}, TrustUser: new(TrustUser)})
	call := func(user string, key string) (*httptest.ResponseRecorder, bool) {
		w := httptest.NewRecorder()
		repl := caddy.NewReplacer()
		if user != "" {
			repl.Set("http.auth.user.id", user)
		}
		passed := false
		r := caddyhttp.PrepareRequest(request("/v1/chat/completions", chat, "Authorization", key), repl, w, &caddyhttp.Server{})
		_ = h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			passed = true
			if id, _ := repl.GetString("llm.client.id"); user != "" && id != user {
				t.Errorf("%s is taken for %s", user, id)
			}
			return nil
		}))
		return w, passed
	}
	for _, test := range []struct {
		user, key string
		status    int
	}{
		{"alice", "", 200}, {"alice", "Bearer wrong", 200}, {"bob", "", 403},
		{"", "Bearer " + secret, 200}, {"", "", 401}, {"", "Bearer wrong", 401}, {"a\nb", "Bearer " + secret, 401},
	} {
		if w, passed := call(test.user, test.key); passed != (test.status == 200) || !passed && w.Code != test.status {
			t.Errorf("user %q, key %q: %d, passed %t; want %d", test.user, test.key, w.Code, passed, test.status)
		}
	}
}

// The groups that a handler in front names hold for whom it has named, and
// those of all that it names; what is no group gives nothing.
func TestGroupsOfATrustedUser(t *testing.T) {
	h := newHandler(t, &Handler{
		Callers: Callers{
			Groups:  []*Group{{Name: "all"}, {Name: "staff", Models: []string{"gpt-4o"}}, {Name: "domain-users"}},
			Clients: []*Client{{ID: "known", Groups: []string{"staff"}}},
		},
		TrustUser: &TrustUser{
			ID: "{http.request.header.Remote-User}", GroupsFrom: "{http.request.header.Remote-Groups}",
			Membership: Membership{Groups: []string{"all"}, GroupNames: map[string]string{"eng": "staff", "Domain Users": "domain-users"}},
		},
	})
	for _, test := range []struct{ user, groups, want string }{
		{"alice", "", "all"}, {"alice", "eng,else, Domain Users", "all staff domain-users"}, {"alice", "staff|eng|all", "all staff"},
		{"alice", "eng other", "all staff"}, {"known", "all", "staff"},
	} {
		r := request("/v1/chat/completions", chat, "Authorization", "", "Remote-User", test.user, "Remote-Groups", test.groups)
		w := httptest.NewRecorder()
		repl := caddyhttp.NewTestReplacer(r)
		client, refused := h.authenticate(caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{}), nil)
		if refused != nil || strings.Join(client.Groups, " ") != test.want {
			t.Errorf("%s of %q: %+v, %v", test.user, test.groups, client, refused)
		}
	}
}
