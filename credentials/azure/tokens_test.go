// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed83435595/caddy-llm-proxy/credentials/azure"
	"github.com/seed83435595/caddy-llm-proxy/internal/sourcetest"
)

// TestMain has the process trust the certificate of the tests' own servers:
// Entra is only asked over TLS.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "azure")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server := httptest.NewTLSServer(nil)
	file := filepath.Join(dir, "roots.pem")
	err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600)
	server.Close()
	if err == nil {
		err = os.Setenv("SSL_CERT_FILE", file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// entra is a directory with one application. It remembers what it was asked.
type entra struct {
	*httptest.Server
	// check says what is wrong with the application's proof.
	check func(form url.Values) error
	asked []url.Values
}

const tenant, client = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"

func newEntra(t *testing.T, check func(url.Values) error) *entra {
	t.Helper()
	alone(t)
	e := &entra{check: check}
	e.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/" + tenant + "/v2.0/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":"%[1]s/v2.0","token_endpoint":"%[1]s/oauth2/v2.0/token","authorization_endpoint":"%[1]s/oauth2/v2.0/authorize"}`, e.URL+"/"+tenant)
		case "/" + tenant + "/oauth2/v2.0/token":
			_ = r.ParseForm()
			e.asked = append(e.asked, r.PostForm)
			if err := e.check(r.PostForm); err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q,"error_codes":[7000215]}`, err)
				return
			}
			fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"token-%d"}`, len(e.asked))
		default:
			t.Errorf("Entra was asked for %s", r.URL)
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// alone keeps the machine's own settings out of a test.
func alone(t *testing.T) {
	t.Helper()
	sourcetest.ClearEnv(t, "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER")
}

// An application with a secret gets a token for Azure's AI services: each time
// a new one.
func TestClientSecret(t *testing.T) {
	t.Setenv("TEST_SECRET", "canary-secret")
	e := newEntra(t, func(form url.Values) error {
		if form.Get("client_secret") != "canary-secret" || form.Get("client_id") != client || form.Get("grant_type") != "client_credentials" {
			return fmt.Errorf("no application like that")
		}
		return nil
	})
	s := &azure.Source{TenantID: tenant, ClientID: client, ClientSecret: "{env.TEST_SECRET}", Authority: e.URL}
	first, second := sourcetest.Obtain(t, s, nil), sourcetest.Obtain(t, s, nil)
	if left := time.Until(second.Expires); first.Secret.Reveal() != "token-1" || second.Secret.Reveal() != "token-2" || left < 59*time.Minute || left > time.Hour {
		t.Errorf("got %s and %s, which expires in %s", first.Secret.Reveal(), second.Secret.Reveal(), left)
	}
	if scope := e.asked[0].Get("scope"); !strings.Contains(scope, "https://cognitiveservices.azure.com/.default") {
		t.Errorf("asked for %s", scope)
	}
	if s.Identity() != tenant+" "+client {
		t.Errorf("the identity is %s", s.Identity())
	}
}

// An application with a certificate shows a token that it has signed.
func TestCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "app.pem"),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))+
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	e := newEntra(t, func(form url.Values) error {
		token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.RS256, jose.PS256})
		if err != nil {
			return err
		}
		var claims jwt.Claims
		if err := token.Claims(key.Public(), &claims); err != nil {
			return err
		}
		return claims.Validate(jwt.Expected{Issuer: client, Subject: client, Time: time.Now()})
	})
	sourcetest.Obtain(t, &azure.Source{TenantID: tenant, ClientID: client, CertificateFile: file, Authority: e.URL, Scope: "https://ai.azure.com/.default"}, nil)
	if scope := e.asked[0].Get("scope"); !strings.Contains(scope, "https://ai.azure.com/.default") {
		t.Errorf("asked for %s", scope)
	}
}

// A workload shows the token in a file, which is read anew each time; where
// Kubernetes says all in the environment, no option is needed.
func TestWorkload(t *testing.T) {
	e := newEntra(t, func(url.Values) error { return nil })
	file := sourcetest.WriteFile(t, filepath.Join(t.TempDir(), "token"), "first")
	s := &azure.Source{TenantID: tenant, ClientID: client, TokenFile: file, Authority: e.URL}
	sourcetest.Obtain(t, s, nil)
	sourcetest.WriteFile(t, file, "second")
	sourcetest.Obtain(t, s, nil)
	t.Setenv("AZURE_TENANT_ID", tenant)
	t.Setenv("AZURE_CLIENT_ID", client)
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
	sourcetest.Obtain(t, &azure.Source{Authority: e.URL}, nil)
	var shown []string
	for _, form := range e.asked {
		shown = append(shown, form.Get("client_assertion"))
	}
	if strings.Join(shown, " ") != "first second second" {
		t.Errorf("Entra was shown %q", shown)
	}
}

// The machine's own identity is what the machine says.
func TestManagedIdentity(t *testing.T) {
	alone(t)
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-IDENTITY-HEADER") != "canary-header" || r.URL.Query().Get("resource") != "https://cognitiveservices.azure.com" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"access_token":"of-%s","expires_on":"%d","resource":"https://cognitiveservices.azure.com","token_type":"Bearer"}`,
			r.URL.Query().Get("client_id"), time.Now().Add(time.Hour).Unix())
	}))
	defer machine.Close()
	t.Setenv("IDENTITY_ENDPOINT", machine.URL)
	t.Setenv("IDENTITY_HEADER", "canary-header")
	for id, want := range map[string]string{"": "of-", client: "of-" + client} {
		s := &azure.Source{ClientID: id}
		if got := sourcetest.Obtain(t, s, nil).Secret.Reveal(); got != want || s.Identity() != "managed identity "+id {
			t.Errorf("got %s for %s", got, s.Identity())
		}
	}
}

// What Entra says is told, in bounds, and no secret with it.
func TestErrorsHoldNoSecrets(t *testing.T) {
	e := newEntra(t, func(form url.Values) error {
		return fmt.Errorf("AADSTS7000215: Invalid client secret %s%s", form.Get("client_secret"), strings.Repeat("x", 10_000))
	})
	s := &azure.Source{TenantID: tenant, ClientID: client, ClientSecret: "canary/secret", Authority: e.URL}
	sourcetest.CheckError(t, sourcetest.ObtainError(t, s), "AADSTS7000215")
	if len(e.asked) != 1 {
		t.Errorf("Entra was asked %d times", len(e.asked))
	}
}

// What cannot work is refused when the config is loaded, without asking
// anybody.
func TestRefusedOptions(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	for want, s := range map[string]*azure.Source{
		"only one of them is used":         {TenantID: tenant, ClientID: client, ClientSecret: "canary", TokenFile: "/token"},
		"tenant_id and client_id":          {ClientSecret: "canary"},
		"certificate_password: of no use":  {CertificatePassword: "canary"},
		"neither public, china, governmen": {TenantID: tenant, ClientID: client, ClientSecret: "canary", Authority: "http://login.example.com"},
		"reading the certificate":          {TenantID: tenant, ClientID: client, CertificateFile: sourcetest.WriteFile(t, filepath.Join(dir, "no.pem"), "canary")},
		"invalid tenant":                   {TenantID: "a b", ClientID: client, ClientSecret: "canary"},
		"client_secret: evaluated placeho": {TenantID: tenant, ClientID: client, ClientSecret: "{env.UNSET_FOR_THIS_TEST}"},
	} {
		sourcetest.CheckError(t, sourcetest.Provision(s), want)
	}
}

// The Caddyfile says all that JSON can say.
func TestCaddyfile(t *testing.T) {
	s := new(azure.Source)
	err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`azure {
		tenant_id            1
		client_id            2
		client_secret        3
		certificate_file     4
		certificate_password 5
		token_file           6
		authority            7
		scope                8
	}`))
	got := fmt.Sprint(s.TenantID, s.ClientID, s.ClientSecret, s.CertificateFile, s.CertificatePassword, s.TokenFile, s.Authority, s.Scope, err)
	if strings.ReplaceAll(got, " ", "") != "12345678<nil>" {
		t.Errorf("got %s", got)
	}
}
