// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer is one of tokens: it signs some, publishes its keys, and answers
// whoever asks it about others.
type issuer struct {
	*httptest.Server
	signer jose.Signer
	keySet []byte
	// away is that it breaks every connection.
	away atomic.Bool

	mu sync.Mutex
	// says is what it says of tokens, and asked which it was asked about.
	says  map[string]string
	asked []string
}

const introspectionSecret = "canary-introspection/secret"

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{says: map[string]string{}}
	i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if i.keySet, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k"}}}); err != nil {
		t.Fatal(err)
	}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i.away.Load() {
		panic(http.ErrAbortHandler)
	}
	if r.URL.Path == "/jwks.json" {
		_, _ = w.Write(i.keySet)
		return
	}
	if id, secret, _ := r.BasicAuth(); id != "gateway" || secret != "canary-introspection%2Fsecret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	token := r.FormValue("token")
	i.mu.Lock()
	i.asked = append(i.asked, token)
	said, known := i.says[token]
	i.mu.Unlock()
	if !known {
		said = `{"active":false}`
	}
	_, _ = w.Write([]byte(said))
}

// sign returns a token with claims besides those it needs.
func (i *issuer) sign(t *testing.T, subject string, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": "https://id.example", "aud": "llm", "sub": subject, "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	token, err := jwt.Signed(i.signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// grant has the issuer say something of an opaque token.
func (i *issuer) grant(token, said string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.says[token] = said
}

// questions returns about which tokens it was asked.
func (i *issuer) questions() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.asked)
}

// trusting is a Caddyfile in which ISSUER stands for the issuer and BLOCK for
// the rest of the block.
const trusting = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	debug
}
http://127.0.0.1:GATEWAY {
	log
	llm_proxy {
		client app CLIENT
		group staff {
			models gpt-* o3
		}
		group small {
			limit requests 1 day each
		}
		jwt {
			jwks ISSUER/jwks.json
			issuer https://id.example
			audience llm
			groups_claim realm_access.roles
			models_claim models
			limits_claim limits
			map_group /eng staff
		}
		introspection ISSUER/introspect {
			client_id gateway
			client_secret {env.INTROSPECTION_SECRET}
			cache CACHE
			max_rate 20
			groups_claim scope
			limits_claim limits
		}
		auth_failures 1000 1m
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`

func startTrusting(t *testing.T, i *issuer, cache string) (*gateway, string) {
	config := strings.NewReplacer("ISSUER", i.URL, "CACHE", cache).Replace(trusting)
	return start(t, config, "INTROSPECTION_SECRET="+introspectionSecret), config
}

func (g *gateway) check(t *testing.T, what, key, body string, status int, code string) {
	t.Helper()
	res, text := g.call(t, "127.0.0.1", key, "/v1/chat/completions", body)
	if res.StatusCode != status || !strings.Contains(text, code) {
		t.Errorf("%s: %d %s; want %d %s", what, res.StatusCode, text, status, code)
	}
}

func asking(model string) string { return strings.Replace(chatBody, "gpt-4o", model, 1) }

// What a signed token says of its client holds: how much, in which groups, of
// which models; and a token that says it wrongly lets nobody in.
func TestClaimsOfSignedTokens(t *testing.T) {
	i := newIssuer(t)
	g, _ := startTrusting(t, i, "1m")
	limited := i.sign(t, "alice", map[string]any{"limits": map[string]any{"requests_per_day": 2}})
	g.check(t, "first", limited, chatBody, 200, "")
	g.check(t, "second", limited, chatBody, 200, "")
	g.check(t, "third", limited, chatBody, 429, "user_quota_exceeded")
	in := func(subject string, claims map[string]any, groups ...string) string {
		claims["realm_access"] = map[string]any{"roles": groups}
		return i.sign(t, subject, claims)
	}
	narrow := in("bob", map[string]any{"models": []string{"o3", "claude"}}, "/eng", "else")
	g.check(t, "of the group, not of the token", narrow, asking("gpt-4o"), 403, "model_not_allowed")
	g.check(t, "of the token, not of the group", narrow, asking("claude"), 403, "model_not_allowed")
	g.check(t, "of both", narrow, asking("o3"), 200, "")
	for _, subject := range []string{"carol", "erin"} {
		member := in(subject, map[string]any{}, "small")
		g.check(t, "within the limit of each member", member, chatBody, 200, "")
		g.check(t, "beyond it", member, chatBody, 429, "user_quota_exceeded")
	}
	g.check(t, "malformed limits", i.sign(t, "dave", map[string]any{"limits": "none"}), chatBody, 401, "invalid_api_key")
	g.await(t, "a token was refused; this is said once")
	if n := len(i.questions()); n != 0 {
		t.Errorf("the issuer was asked about %d tokens that it signed", n)
	}
}

// Tokens that only their issuer can read are asked about, once, with what it
// says of limits and groups in force. When it is away, those that it has called
// good serve on, also over a reload; others are neither good nor bad. No key of
// ours is shown to it, and no token shows in the log.
func TestTokensThatTheIssuerIsAskedAbout(t *testing.T) {
	const good, limited, unknown, late = "canary-opaque-good-token", "canary-opaque-limited", "canary-opaque-unknown", "canary-opaque-late-token"
	i := newIssuer(t)
	i.grant(good, `{"active":true,"sub":"alice","scope":"staff openid"}`)
	i.grant(limited, `{"active":true,"sub":"bob","limits":{"requests_per_hour":1}}`)
	i.grant(late, `{"active":true,"sub":"carol"}`)
	g, config := startTrusting(t, i, "1m")
	for range 3 {
		g.check(t, "good", good, chatBody, 200, "")
		g.check(t, "unknown", unknown, chatBody, 401, "invalid_api_key")
		g.check(t, "a client's key", clientKey, chatBody, 200, "")
	}
	g.check(t, "not of its group", good, asking("claude"), 403, "model_not_allowed")
	g.check(t, "limited", limited, chatBody, 200, "")
	g.check(t, "limited, again", limited, chatBody, 429, "user_quota_exceeded")
	g.check(t, "somebody's old key", "clp-"+strings.Repeat("0a", 32), chatBody, 401, "invalid_api_key")
	g.check(t, "a password", "with spaces and more", chatBody, 401, "invalid_api_key")
	if asked := i.questions(); !slices.Equal(asked, []string{good, unknown, limited}) {
		t.Errorf("the issuer was asked about %q", asked)
	}

	i.away.Store(true)
	g.reload(t, strings.Replace(config, "auth_failures 1000", "auth_failures 900", 1))
	g.check(t, "good, after a reload and without the issuer", good, chatBody, 200, "")
	for range 10 {
		res, text := g.call(t, "127.0.0.1", late, "/v1/messages", chatBody)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(text, `"type":"error"`) {
			t.Fatalf("without the issuer: %d %s", res.StatusCode, text)
		}
	}
	g.await(t, "the issuer cannot be asked about tokens")
	i.away.Store(false)
	for tries := 0; ; tries++ {
		res, text := g.call(t, "127.0.0.1", late, "/v1/chat/completions", chatBody)
		if res.StatusCode == 200 {
			break
		}
		if res.StatusCode != 503 || tries > 100 {
			t.Fatalf("once the issuer is back: %d %s", res.StatusCode, text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, canary := range []string{good, limited, unknown, late, introspectionSecret, "canary-introspection"} {
		if strings.Contains(g.Output(), canary) {
			t.Errorf("%s is in the log", canary)
		}
	}
}

// A flood of invented tokens does not become one for the issuer, and good ones
// that are known pass through it.
func TestFloodOfInventedTokens(t *testing.T) {
	i := newIssuer(t)
	i.grant("a-good-opaque-token", `{"active":true,"sub":"alice"}`)
	g, _ := startTrusting(t, i, "1m")
	g.check(t, "before", "a-good-opaque-token", chatBody, 200, "")
	began := time.Now()
	var flood sync.WaitGroup
	var refused [600]atomic.Int64
	for n := range 8 {
		flood.Go(func() {
			for m := range 100 {
				res, _ := g.call(t, "127.0.0.1", fmt.Sprintf("an-invented-token-%d-%d", n, m), "/v1/chat/completions", chatBody)
				refused[min(res.StatusCode, 599)].Add(1)
			}
		})
	}
	g.check(t, "in the flood", "a-good-opaque-token", chatBody, 200, "")
	flood.Wait()
	seconds := time.Since(began).Seconds()
	if most := 21 + 20*seconds; float64(len(i.questions())) > most {
		t.Errorf("the issuer was asked %d times in %.1f s", len(i.questions()), seconds)
	}
	if n := refused[401].Load() + refused[503].Load() + refused[429].Load(); n != 800 {
		t.Errorf("%d of 800 were refused", n)
	}
	t.Logf("800 tokens in %.1f s: %d asked about; %d times 401, %d times 503, %d times 429",
		seconds, len(i.questions()), refused[401].Load(), refused[503].Load(), refused[429].Load())
}

// The same callers are let in to any handler, and what is found out of them
// serves whoever comes next.
func TestCallersOfAnyHandler(t *testing.T) {
	i := newIssuer(t)
	g := start(t, strings.NewReplacer("ISSUER", i.URL, "HASH", hash("old-key-of-a-client")).Replace(head+`http://127.0.0.1:GATEWAY {
	llm_auth {
		group staff
		client app CLIENT {
			group staff
		}
		client old HASH {
			expires 2020-01-01
		}
		introspection ISSUER/introspect {
			client_id gateway
			client_secret {env.INTROSPECTION_SECRET}
			groups_claim groups
		}
		auth_failures 3 1h
	}
	respond /whoami "{http.auth.user.id} of {http.auth.user.groups}"
	error /broken 502
	llm_proxy {
		group staff {
			limit requests 1 day
		}
		trust_user {
			groups_from {http.auth.user.groups}
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`), "INTROSPECTION_SECRET="+introspectionSecret)
	i.grant("an-opaque-token-of-bob", `{"active":true,"sub":"bob","groups":["staff","else"]}`)
	get := func(address, path, key string, status int, want string) http.Header {
		t.Helper()
		res, text := g.call(t, address, key, path, chatBody)
		if res.StatusCode != status || !strings.Contains(text, want) {
			t.Errorf("%s with %s: %d %s; want %d %s", path, key, res.StatusCode, text, status, want)
		}
		return res.Header
	}
	get("127.0.0.1", "/whoami", clientKey, 200, "app of staff")
	get("127.0.0.1", "/whoami", "an-opaque-token-of-bob", 200, "bob of staff")
	get("127.0.0.1", "/broken", clientKey, 502, "")
	if h := get("127.0.0.1", "/whoami", "wrong", 401, "invalid_api_key"); h.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("the challenge is %q", h.Values("WWW-Authenticate"))
	}
	get("127.0.0.1", "/whoami", "old-key-of-a-client", 401, "expired_api_key")
	get("127.0.0.1", "/v1/chat/completions", clientKey, 200, "")
	get("127.0.0.1", "/v1/chat/completions", "an-opaque-token-of-bob", 429, "of group staff")
	i.away.Store(true)
	if h := get("127.0.0.1", "/whoami", "an-opaque-token-of-carol", 503, "auth_unavailable"); h.Get("Retry-After") == "" {
		t.Error("nothing is said of when to come again")
	}
	for range 3 {
		get("127.0.0.2", "/whoami", "wrong", 401, "invalid_api_key")
	}
	get("127.0.0.2", "/whoami", clientKey, 429, "rate_limit_exceeded")
}
