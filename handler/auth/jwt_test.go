// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer signs tokens and publishes its keys.
type issuer struct {
	t    *testing.T
	keys map[string]crypto.Signer
	// published is the key set as it is fetched.
	published []jose.JSONWebKey
	fetches   atomic.Int64
	away      atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, keys: map[string]crypto.Signer{}}
	i.add("rsa", must(rsa.GenerateKey(rand.Reader, 2048)))
	i.add("ec", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	i.add("ed", ed)
	return i
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (i *issuer) add(id string, key crypto.Signer) {
	i.keys[id] = key
	i.published = append(i.published, jose.JSONWebKey{Key: key.Public(), KeyID: id})
}

func (i *issuer) fetch(context.Context) ([]byte, error) {
	i.fetches.Add(1)
	if i.away.Load() {
		return nil, errors.New("away")
	}
	return json.Marshal(jose.JSONWebKeySet{Keys: i.published})
}

// verifier returns one that has the issuer's keys.
func (i *issuer) verifier() *Verifier {
	i.t.Helper()
	keys := &KeySet{Fetch: i.fetch, Now: time.Now, Report: func(error) {}, Every: time.Hour, Again: time.Minute}
	keys.Init()
	if err := keys.Load(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
	return &Verifier{Keys: keys, Issuer: "https://id.example", Audience: []string{"llm"}, Leeway: time.Minute}
}

// fetching returns one that also fetches the issuer's keys anew, until the test
// is over.
func (i *issuer) fetching() *Verifier {
	i.t.Helper()
	v := i.verifier()
	ctx, cancel := context.WithCancel(i.t.Context())
	i.t.Cleanup(cancel)
	go v.Keys.Run(ctx)
	synctest.Wait()
	return v
}

// claims are those of a good token at noon, with some changed; a nil one is
// left out.
func claims(change map[string]any) map[string]any {
	all := map[string]any{
		"iss": "https://id.example", "aud": []string{"other", "llm"}, "sub": "alice",
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(time.Hour).Unix(),
	}
	for name, value := range change {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// sign makes a token.
func (i *issuer) sign(id string, algorithm jose.SignatureAlgorithm, content map[string]any) string {
	i.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: i.keys[id], KeyID: id}}, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	return must(jwt.Signed(signer).Claims(content).Serialize())
}

// whose returns whom a token is about.
func whose(ctx context.Context, v *Verifier, text string) (string, error) {
	token, err := ReadToken(text)
	if err != nil {
		return "", err
	}
	claims, err := v.Verify(ctx, noon, token)
	return claims.Text(Path{"sub"}), err
}

// Tokens of every asymmetric kind are taken, and say who is calling.
func TestGoodTokens(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	for _, test := range []struct {
		key       string
		algorithm jose.SignatureAlgorithm
	}{{"rsa", jose.RS256}, {"rsa", jose.RS512}, {"rsa", jose.PS256}, {"ec", jose.ES256}, {"ed", jose.EdDSA}} {
		token := i.sign(test.key, test.algorithm, claims(nil))
		if !IsToken(token) {
			t.Errorf("%s: does not look like a token", test.algorithm)
		}
		if id, err := whose(t.Context(), v, token); id != "alice" || err != nil {
			t.Errorf("%s: %q, %v", test.algorithm, id, err)
		}
	}
	late := i.sign("ed", jose.EdDSA, claims(map[string]any{"exp": noon.Add(-30 * time.Second).Unix()}))
	if _, err := whose(t.Context(), v, late); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
}

// A token that is not the issuer's, not for us, or not for now is refused, and
// it is known why.
func TestBadTokens(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	v := i.verifier()
	sign := func(change map[string]any) string { return i.sign("ed", jose.EdDSA, claims(change)) }
	good := sign(nil)
	parts := strings.Split(good, ".")
	i.keys["secret"] = i.keys["ed"]
	for name, test := range map[string]struct{ token, reason string }{
		"another's":       {stranger.sign("ed", jose.EdDSA, claims(nil)), "signature"},
		"issuer":          {sign(map[string]any{"iss": "https://id.example/"}), "issuer"},
		"no issuer":       {sign(map[string]any{"iss": nil}), "issuer"},
		"audience":        {sign(map[string]any{"aud": "other"}), "audience"},
		"no audience":     {sign(map[string]any{"aud": nil}), "audience"},
		"expired":         {sign(map[string]any{"exp": noon.Add(-61 * time.Second).Unix()}), "expired"},
		"without an end":  {sign(map[string]any{"exp": nil}), "no_expiry"},
		"not yet":         {sign(map[string]any{"nbf": noon.Add(2 * time.Minute).Unix()}), "not_yet_valid"},
		"from the future": {sign(map[string]any{"iat": noon.Add(2 * time.Minute).Unix()}), "not_yet_valid"},
		"nobody's name":   {sign(map[string]any{"sub": 7}), "unreadable"},
		"unknown key":     {i.sign("secret", jose.EdDSA, claims(nil)), "unknown_key_id"},
		"cut":             {good[:len(good)-1], "unreadable"},
		"other claims":    {parts[0] + "." + strings.Split(stranger.sign("ed", jose.EdDSA, claims(map[string]any{"sub": "root"})), ".")[1] + "." + parts[2], "signature"},
		"no signature":    {parts[0] + "." + parts[1] + ".", "signature"},
		"alg none":        {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "algorithm"},
		"huge":            {good + strings.Repeat("A", maxToken), "unreadable"},
		"empty token":     {"", "unreadable"},
		"dots":            {"eyJ..", "unreadable"},
	} {
		id, err := whose(t.Context(), v, test.token)
		if err == nil || id != "" {
			t.Errorf("%s: taken for %q", name, id)
		}
		if reason := Reason(err); reason != test.reason {
			t.Errorf("%s: reason %q of %v, want %s", name, reason, err, test.reason)
		}
	}
}

// The public key of an issuer is public: nobody can sign with it.
func TestPublicKeyIsNoSecret(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	for _, secret := range [][]byte{
		must(x509.MarshalPKIXPublicKey(i.keys["rsa"].Public())),
		must(json.Marshal(i.published[0])),
	} {
		signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: "rsa"}}, nil))
		if _, err := whose(t.Context(), v, must(jwt.Signed(signer).Claims(claims(nil)).Serialize())); err == nil {
			t.Error("taken")
		}
	}
}

// Of a key set only what can verify signatures is used: no shared secret, no
// weak key, none that is for encryption; and a private key's public half.
func TestParseKeys(t *testing.T) {
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: []byte("secret-secret-secret-secret-secret"), KeyID: "oct"},
		{Key: weak.Public(), KeyID: "weak"},
		{Key: private.Public(), KeyID: "enc", Use: "enc"},
	}}
	if _, err := parseKeys(must(json.Marshal(set))); err == nil {
		t.Error("a set without a useful key was taken")
	}
	set.Keys = append(set.Keys, jose.JSONWebKey{Key: private, KeyID: "private", Use: "sig"})
	text := strings.Replace(string(must(json.Marshal(set))), `{"keys":[`, `{"keys":[{"kty":"new","kid":"x"},7,`, 1)
	keys, err := parseKeys([]byte(text))
	if err != nil || len(keys) != 1 || keys[0].KeyID != "private" || !keys[0].IsPublic() {
		t.Errorf("got %v, %v", keys, err)
	}
	for _, bad := range []string{"", "{}", `{"keys":[]}`, "<html>", `{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`} {
		if _, err := parseKeys([]byte(bad)); err == nil {
			t.Errorf("%.20s was taken", bad)
		}
	}
}

// A key that the issuer has just begun to use is fetched when a token names
// it; but however many tokens name keys that nobody has, there are few
// fetches. When the issuer is away, its known keys serve on.
func TestKeysAreFetchedWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		v, ctx := i.fetching(), t.Context()
		first := i.fetches.Load()

		_, private, _ := ed25519.GenerateKey(rand.Reader)
		i.keys["new"] = private
		fresh := i.sign("new", jose.EdDSA, claims(nil))
		for range 100 {
			if _, err := whose(ctx, v, fresh); err == nil {
				t.Fatal("a key that is not published was taken")
			}
		}
		if n := i.fetches.Load(); n != first {
			t.Errorf("%d fetches more within a moment", n-first)
		}
		i.add("new", private)
		time.Sleep(minRefresh)
		if _, err := whose(ctx, v, fresh); err != nil {
			t.Errorf("the new key: %v", err)
		}

		i.away.Store(true)
		time.Sleep(3 * time.Hour)
		if _, err := whose(ctx, v, fresh); err != nil {
			t.Errorf("while the issuer is away: %v", err)
		}
		if n := i.fetches.Load() - first; n < 100 || n > 200 {
			t.Errorf("%d fetches in three hours, of which two without an answer", n)
		}
	})
}

// As long as no keys have come, a token is neither good nor bad; a call waits
// for the first ones, but not for ever.
func TestNoKeysYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		token := i.sign("ed", jose.EdDSA, claims(nil))
		slow := make(chan bool)
		keys := &KeySet{Now: time.Now, Report: func(error) {}, Every: time.Hour, Again: time.Minute}
		keys.Fetch = func(ctx context.Context) ([]byte, error) {
			select {
			case <-slow:
				return i.fetch(ctx)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		keys.Init()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go keys.Run(ctx)
		v := &Verifier{Keys: keys, Issuer: "https://id.example", Audience: []string{"llm"}}
		begin := time.Now()
		if _, err := whose(ctx, v, token); !errors.Is(err, ErrUnjudged) || time.Since(begin) != maxKeyWait {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		time.AfterFunc(time.Second, func() { slow <- true })
		if _, err := whose(ctx, v, token); err != nil {
			t.Errorf("once the keys have come: %v", err)
		}
	})
}

// No token, however it is made, brings the verifier down or gets through.
func FuzzVerify(f *testing.F) {
	i := &issuer{t: new(testing.T), keys: map[string]crypto.Signer{}}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	i.add("ed", ed)
	keys := &KeySet{Fetch: i.fetch, Now: time.Now, Report: func(error) {}}
	keys.Init()
	if err := keys.Load(context.Background()); err != nil {
		f.Fatal(err)
	}
	v := &Verifier{Keys: keys, Issuer: "https://id.example", Audience: []string{"llm"}}
	good := i.sign("ed", jose.EdDSA, claims(nil))
	f.Add(good)
	f.Add(good[:len(good)-2])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := whose(t.Context(), v, token); err == nil && (id != "alice" || !strings.HasPrefix(token, good[:len(good)-2])) {
			t.Errorf("%q taken for %q", token, id)
		}
	})
}
