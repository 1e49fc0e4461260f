// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An address that comes with too many wrong keys is refused without a look at
// the next one, be it the right one. Others are not.
func TestWrongKeysBlockAnAddress(t *testing.T) {
	h := newHandler(t, &Handler{
		Callers: Callers{Clients: []*Client{newClient(t)}, AuthFailures: &AuthFailures{Limit: 3, Window: caddy.Duration(time.Hour)}},
	})
	from := func(address, key string) *http.Request {
		r := request("/v1/chat/completions", chat, "Authorization", key)
		r.RemoteAddr = address
		return r
	}
	for range 10 {
		checkRefused(t, h, from("203.0.113.7:1", ""), http.StatusUnauthorized, "invalid_api_key")
	}
	for range 3 {
		checkRefused(t, h, from("203.0.113.7:1", "Bearer wrong"), http.StatusUnauthorized, "invalid_api_key")
	}
	checkRefused(t, h, from("203.0.113.7:2", "Bearer wrong"), http.StatusTooManyRequests, "rate_limit_exceeded")
	checkRefused(t, h, from("203.0.113.7:3", "Bearer "+secret), http.StatusTooManyRequests, "rate_limit_exceeded")
	checkPassed(t, h, from("203.0.113.8:1", "Bearer "+secret))
}

// A request is one try, or a few: who fills its head with keys gains nothing.
func TestFewKeysOfARequestAreTried(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}})
	r := request("/v1/chat/completions", chat, "Authorization", "")
	for range maxCredentials {
		r.Header.Add("X-Api-Key", "wrong")
	}
	r.Header.Add("X-Api-Key", secret)
	checkRefused(t, h, r, http.StatusUnauthorized, "invalid_api_key")
	r.Header["X-Api-Key"] = r.Header["X-Api-Key"][1:]
	checkPassed(t, h, r)
}

// However many tokens a request brings, only so many signatures are checked.
func TestFewSignaturesOfARequestAreChecked(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	good, keySet := issuer.sign("alice", ""), issuer.keySet
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(keySet), &keys); err != nil {
		t.Fatal(err)
	}
	var signer jose.Signer
	for i := range 15 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys.Keys = append(keys.Keys, jose.JSONWebKey{Key: public, KeyID: strconv.Itoa(i)})
		if signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, nil); err != nil {
			t.Fatal(err)
		}
	}
	keys.Keys = keys.Keys[:15] // so the signer's is unknown
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, []byte(asJSON(t, keys)), 0o600); err != nil {
		t.Fatal(err)
	}
	unknown, err := jwt.Signed(signer).Claims(map[string]any{"iss": "https://id.example"}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, &Handler{Callers: Callers{JWT: withJWT(file)}})
	r := request("/v1/chat/completions", chat, "Authorization", "", "X-Api-Key", unknown)
	r.Header.Add("X-Api-Key", good)
	checkPassed(t, h, r)
	r = request("/v1/chat/completions", chat, "Authorization", "", "X-Api-Key", unknown)
	r.Header.Add("X-Api-Key", unknown+"A")
	r.Header.Add("X-Api-Key", good)
	checkRefused(t, h, r, http.StatusUnauthorized, "invalid_api_key")
}
