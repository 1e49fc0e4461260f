// SPDX-License-Identifier: Apache-2.0

package google_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed83435595/caddy-llm-proxy/credentials/google"
	"github.com/seed83435595/caddy-llm-proxy/internal/sourcetest"
)

// issuer is Google's token endpoint for one service account.
type issuer struct {
	*httptest.Server
	key    *rsa.PrivateKey
	scopes []string
	asked  int
	// answer overrules everything.
	answer http.HandlerFunc
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked++
		if i.answer != nil {
			i.answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if scope, err := i.check(r); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":%q}`, err)
		} else {
			i.scopes = append(i.scopes, scope)
			fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3599}`, i.asked)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// check checks what the account shows: a token that it has signed itself.
func (i *issuer) check(r *http.Request) (scope string, err error) {
	if grant := r.FormValue("grant_type"); grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return "", fmt.Errorf("grant type %s", grant)
	}
	token, err := jwt.ParseSigned(r.FormValue("assertion"), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", err
	}
	var claims struct {
		jwt.Claims
		Scope string `json:"scope"`
	}
	if err := token.Claims(i.key.Public(), &claims); err != nil {
		return "", fmt.Errorf("invalid JWT signature: %w", err)
	}
	return claims.Scope, claims.Validate(jwt.Expected{Issuer: "app@project.iam.gserviceaccount.com", AnyAudience: jwt.Audience{i.URL}, Time: time.Now()})
}

// account returns the file that Google gives out for the account.
func (i *issuer) account(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "project", "private_key_id": "1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "app@project.iam.gserviceaccount.com", "token_uri": i.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// alone keeps the machine's own credentials out of a test.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
}

// A service account shows a token that it has signed, and gets one for it: each
// time a new one.
func TestServiceAccount(t *testing.T) {
	alone(t)
	i := newIssuer(t)
	t.Setenv("TEST_ACCOUNT", i.account(t))
	for _, s := range []*google.Source{
		{File: sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "account.json"), i.account(t))},
		{JSON: "{env.TEST_ACCOUNT}", Scopes: []string{"one", "two"}},
	} {
		first, second := sourcetest.Obtain(t, s, nil), sourcetest.Obtain(t, s, nil)
		if left := time.Until(second.Expires); first.Secret.Equal(second.Secret) || left < 59*time.Minute || left > time.Hour {
			t.Errorf("got the same, or one that expires in %s", left)
		}
		if s.Identity() != "app@project.iam.gserviceaccount.com" {
			t.Errorf("the identity is %s", s.Identity())
		}
	}
	if got, want := strings.Join(i.scopes, ";"), strings.Repeat("https://www.googleapis.com/auth/cloud-platform;", 2)+"one two;one two"; got != want {
		t.Errorf("asked for %s", got)
	}
}

// A file that was exchanged for another is read again.
func TestExchangedKey(t *testing.T) {
	alone(t)
	i, other := newIssuer(t), newIssuer(t)
	file := sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "account.json"), i.account(t))
	s := &google.Source{File: file}
	sourcetest.Obtain(t, s, nil)
	i.key = other.key
	if _, err := s.Obtain(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "invalid JWT signature") {
		t.Errorf("with the old key: got %v", err)
	}
	sourcetest.WriteFile(t, file, i.account(t))
	sourcetest.Obtain(t, s, nil)
}

// Default credentials are those of the file that the environment names, or of
// the machine; nobody is asked before they are needed.
func TestDefaultCredentials(t *testing.T) {
	alone(t)
	i := newIssuer(t)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "account.json"), i.account(t)))
	if got := sourcetest.Obtain(t, new(google.Source), nil).Secret.Reveal(); got != "token-1" {
		t.Errorf("got %s", got)
	}

	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	asked := 0
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Metadata-Flavor", "Google")
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/token") && r.Header.Get("Metadata-Flavor") == "Google" {
			_, _ = io.WriteString(w, `{"access_token":"of-the-machine","token_type":"Bearer","expires_in":600}`)
		}
	}))
	defer machine.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(machine.URL, "http://"))
	s := new(google.Source)
	if err := sourcetest.Provision(s); err != nil || asked != 0 {
		t.Fatalf("loading the config: %v; the machine was asked %d times", err, asked)
	}
	if got := sourcetest.Obtain(t, s, nil).Secret.Reveal(); got != "of-the-machine" {
		t.Errorf("got %s", got)
	}
}

// A workload that another issuer vouches for exchanges that token.
func TestWorkloadOfAnotherCloud(t *testing.T) {
	alone(t)
	i := newIssuer(t)
	i.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("subject_token") == "from-kubernetes" && r.FormValue("audience") == "//iam.googleapis.com/pool" {
			_, _ = io.WriteString(w, `{"access_token":"exchanged","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`)
		}
	}
	subject := sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "subject"), "from-kubernetes")
	text, err := json.Marshal(map[string]any{
		"type": "external_account", "audience": "//iam.googleapis.com/pool",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": i.URL,
		"credential_source": map[string]string{"file": subject},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &google.Source{File: sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "external.json"), string(text))}
	if got := sourcetest.Obtain(t, s, nil).Secret.Reveal(); got != "exchanged" || s.Identity() != "//iam.googleapis.com/pool" {
		t.Errorf("got %s for %s", got, s.Identity())
	}
}

// An error of Google's is told, in bounds, without what was shown to it.
func TestErrorsHoldNoSecrets(t *testing.T) {
	alone(t)
	i := newIssuer(t)
	i.answer = func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no: "+r.FormValue("assertion")+strings.Repeat("x", 10_000))
	}
	t.Setenv("TEST_ACCOUNT", i.account(t))
	s := &google.Source{JSON: "{env.TEST_ACCOUNT}"}
	err := sourcetest.ObtainError(t, s)
	sourcetest.CheckError(t, err, "403")
	if strings.Contains(err.Error(), "eyJ") {
		t.Errorf("what was shown to Google is told: %v", err)
	}
}

// What cannot work is refused when the config is loaded.
func TestRefusedOptions(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	for want, s := range map[string]*google.Source{
		"one of them must go":       {File: "a", JSON: "b"},
		"no such file":              {File: filepath.Join(dir, "missing")},
		"not JSON":                  {File: sourcetest.WriteFile(t, filepath.Join(dir, "text"), "canary")},
		"unsupported":               {File: sourcetest.WriteFile(t, filepath.Join(dir, "other"), `{"type":"other"}`)},
		"json: evaluated placehold": {JSON: "{env.UNSET_FOR_THIS_TEST}"},
	} {
		sourcetest.CheckError(t, sourcetest.Provision(s), want)
	}
}

// The Caddyfile says all that JSON can say.
func TestCaddyfile(t *testing.T) {
	s := new(google.Source)
	err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser("google {\nfile a\njson b\nscopes c d\n}"))
	if got := fmt.Sprint(s.File, s.JSON, s.Scopes, err); got != "ab[c d] <nil>" {
		t.Errorf("got %s", got)
	}
}
