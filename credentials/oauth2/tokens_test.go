// SPDX-License-Identifier: Apache-2.0

package oauth2_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/credentials/oauth2"
	"github.com/seed83435595/caddy-llm-proxy/internal/sourcetest"
)

// issuer is a token endpoint that knows one client. It remembers what it was
// asked.
type issuer struct {
	*httptest.Server
	// secret is the client's, and header and params say where it takes it.
	secret         string
	header, params bool
	// refresh is the refresh token that is good now; each use exchanges it if
	// rotates is set.
	refresh string
	rotates bool
	// answer overrules everything.
	answer http.HandlerFunc

	mu    sync.Mutex
	asked []url.Values
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{secret: "canary-secret/+", header: true, params: true}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = r.ParseForm()
	i.asked = append(i.asked, r.PostForm)
	if i.answer != nil {
		i.answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	id, secret, isBasic := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if !isBasic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	n := len(i.asked)
	switch {
	case isBasic && !i.header || !isBasic && !i.params || id != "app" || secret != i.secret:
		w.WriteHeader(401)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"no client with secret %s"}`, secret)
	case r.PostForm.Get("grant_type") == "client_credentials":
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer","expires_in":3600}`, n)
	case r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") == i.refresh:
		if i.rotates {
			i.refresh = fmt.Sprintf("canary-refresh-%d", n)
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","refresh_token":"%s","expires_in":3600}`, n, i.refresh)
	default:
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"token %s is gone"}`, r.PostForm.Get("refresh_token"))
	}
}

func (i *issuer) requests() []url.Values {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// client returns a source that the issuer knows.
func (i *issuer) client() *oauth2.Source {
	return &oauth2.Source{TokenURL: i.URL + "/token", ClientID: "app", ClientSecret: i.secret}
}

// A client gets a token with its credentials, wherever the issuer wants them;
// what works is found out once.
func TestClientCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		header, params bool
		style          string
		requests       int
	}{
		"either":           {true, true, "", 2},
		"only params":      {false, true, "", 3},
		"params, as said":  {false, true, "params", 2},
		"headers, as said": {true, false, "header", 2},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.header, i.params = test.header, test.params
			s := i.client()
			s.AuthStyle, s.Scopes, s.Params = test.style, []string{"models", "read"}, map[string]string{"audience": "https://ai.example.com"}
			first := sourcetest.Obtain(t, s, nil)
			second := sourcetest.Obtain(t, s, first)
			if left := time.Until(second.Expires); left < 59*time.Minute || left > time.Hour {
				t.Errorf("expires in %s", left)
			}
			asked := i.requests()
			if len(asked) != test.requests || first.Secret.Equal(second.Secret) {
				t.Errorf("%d requests", len(asked))
			}
			last := asked[len(asked)-1]
			if last.Get("scope") != "models read" || last.Get("audience") != "https://ai.example.com" {
				t.Errorf("asked %v", last)
			}
		})
	}
}

// A refresh token that is exchanged at each use is followed; when it is lost,
// the one in the config may be a new one.
func TestRefreshToken(t *testing.T) {
	i := newIssuer(t)
	i.refresh, i.rotates = "canary-refresh-0", true
	file := filepath.Join(t.TempDir(), "refresh")
	sourcetest.WriteFile(t, file, "canary-refresh-0\n")
	s := i.client()
	s.RefreshToken = "{file." + file + "}"
	var grant *credentials.Grant
	for n := range 3 {
		grant = sourcetest.Obtain(t, s, grant)
		if want := fmt.Sprintf("token-%d", n+1); grant.Secret.Reveal() != want {
			t.Errorf("got %s, want %s", grant.Secret.Reveal(), want)
		}
	}
	i.mu.Lock()
	i.refresh = "canary-refresh-new"
	i.mu.Unlock()
	_, err := s.Obtain(context.Background(), grant)
	sourcetest.CheckError(t, err, "invalid_grant")
	sourcetest.WriteFile(t, file, "canary-refresh-new\n")
	sourcetest.Obtain(t, s, grant)

	public := &oauth2.Source{TokenURL: i.URL, ClientID: "app", RefreshToken: i.refresh}
	i.secret = ""
	sourcetest.Obtain(t, public, nil)
}

// A secret that was exchanged for another is read again.
func TestExchangedSecret(t *testing.T) {
	i := newIssuer(t)
	file := filepath.Join(t.TempDir(), "secret")
	sourcetest.WriteFile(t, file, i.secret)
	s := i.client()
	s.ClientSecret = "{file." + file + "}"
	before := s.Identity()
	sourcetest.Obtain(t, s, nil)
	i.mu.Lock()
	i.secret = "canary-other"
	i.mu.Unlock()
	if _, err := s.Obtain(context.Background(), nil); err == nil {
		t.Error("the old secret is still good")
	}
	sourcetest.WriteFile(t, file, "canary-other")
	sourcetest.Obtain(t, s, nil)
	if s.Identity() == before || strings.Contains(s.Identity(), "canary") {
		t.Errorf("the identity is %s", s.Identity())
	}
}

// What the issuer says is told, in bounds, and no secret with it.
func TestErrorsHoldNoSecrets(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"refused": {nil, "invalid_client"},
		"broken": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, r.Header.Get("Authorization")+" eyJcanary.eyJcanary.canary\n"+r.PostForm.Encode()+strings.Repeat("x", 100_000))
		}, "500"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, "not followed"},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) }, "missing access_token"},
		"no bearer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"canary","token_type":"mac"}`)
		}, "no bearers"},
	} {
		i := newIssuer(t)
		i.answer = test.answer
		s := i.client()
		s.ClientSecret, s.AuthStyle = "canary-wrong/+", "params"
		sourcetest.CheckError(t, sourcetest.ObtainError(t, s), test.want)
		if n := len(i.requests()); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// What cannot work is refused when the config is loaded, without asking
// anybody.
func TestRefusedOptions(t *testing.T) {
	for want, s := range map[string]*oauth2.Source{
		"token_url is needed":          {},
		"client_id is needed":          {TokenURL: "https://example.com/token"},
		"client_secret is needed, or":  {TokenURL: "https://example.com/token", ClientID: "app"},
		"it should look like":          {TokenURL: "https://user:canary@example.com", ClientID: "app", ClientSecret: "canary"},
		"should look like https":       {TokenURL: "example.com/token", ClientID: "app", ClientSecret: "canary"},
		"neither header nor params":    {TokenURL: "https://example.com", ClientID: "app", ClientSecret: "canary", AuthStyle: "both"},
		"a refresh token has its own":  {TokenURL: "https://example.com", ClientID: "app", RefreshToken: "canary", Scopes: []string{"a"}},
		"client_secret: evaluated pla": {TokenURL: "https://example.com", ClientID: "app", ClientSecret: "{env.UNSET_FOR_THIS_TEST}"},
	} {
		sourcetest.CheckError(t, sourcetest.Provision(s), want)
	}
}

// The Caddyfile says all that JSON can say, and nothing twice.
func TestCaddyfile(t *testing.T) {
	s := new(oauth2.Source)
	err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`oauth2 {
		token_url     https://login.example.com/token
		client_id     app
		client_secret {env.SECRET}
		refresh_token {env.REFRESH}
		scopes        a b
		params        audience x
		params        resource y
		auth_style    header
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.TokenURL, s.ClientID, s.ClientSecret, s.RefreshToken, s.Scopes, s.Params, s.AuthStyle)
	if want := fmt.Sprint("https://login.example.com/token", "app", "{env.SECRET}", "{env.REFRESH}",
		[]string{"a", "b"}, map[string]string{"audience": "x", "resource": "y"}, "header"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for block, want := range map[string]string{
		"oauth2 more":                                     "wrong argument count",
		"oauth2 {\nsecret x\n}":                           "unrecognized option secret",
		"oauth2 {\nclient_id a\nclient_id b\n}":           "client_id: already specified",
		"oauth2 {\nclient_id a b\n}":                      "wrong argument count",
		"oauth2 {\nscopes\n}":                             "wrong argument count",
		"oauth2 {\nscopes a\nscopes b\n}":                 "scopes: already specified",
		"oauth2 {\nparams a\n}":                           "wrong argument count",
		"oauth2 {\nparams a 1\nparams a 2\n}":             "params a: already specified",
		"oauth2 {\nclient_id \"\"\n}":                     "must not be empty",
		"oauth2 {\nclient_secret a {\nnested block\n}\n}": "unrecognized option",
	} {
		err := new(oauth2.Source).UnmarshalCaddyfile(caddyfile.NewTestDispenser(block))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", block, want, err)
		}
	}
}
