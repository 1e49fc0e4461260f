// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// What the provider gets to see is the request, our key, and nothing about
// the client or the hop to us.
func TestOutgoingHeaders(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		for _, name := range unwelcome {
			w.Header().Set(name, "x")
		}
		answerJSON(w, 200, chatAnswer)
	})
	key := "provider-" + t.Name()
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, key)}, Retry: quick})

	u, _ := url.Parse("/v1/chat/completions?key=client-secret&beta=%20x")
	request, err := wire.Recognize(http.MethodPost, u, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := request.ReadBody("application/json", []byte(chatBody)); err != nil {
		t.Fatal(err)
	}
	call := &Call{Request: request, Body: []byte(chatBody), Started: time.Now()}
	in := httptest.NewRequestWithContext(WithCall(context.Background(), call), http.MethodPost, "http://gateway.example.com"+u.String(), nil)
	for name, value := range map[string]string{
		"Authorization": "Bearer client-secret", "X-Api-Key": "client-secret", "Api-Key": "client-secret",
		"X-Goog-Api-Key": "client-secret", "Cookie": "a=client-secret", "X-Forwarded-For": "192.0.2.1",
		"X-Forwarded-Host": "gateway.example.com", "Via": "1.1 Caddy", "Traceparent": "00-1-2-01",
		"Accept-Encoding": "br", "Sec-Fetch-Mode": "cors", "Cf-Ray": "1", "Origin": "https://app.example.com",
		"Content-Length": "999", "User-Agent": "sdk/1", "X-Stainless-Lang": "js", "Idempotency-Key": "k",
	} {
		in.Header.Set(name, value)
	}
	before := in.Header.Clone()
	res, err := tr.RoundTrip(in)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	got := up.requests()[0]
	want := map[string]string{
		"Authorization": "Bearer " + key, "Accept-Encoding": "identity", "User-Agent": "sdk/1",
		"X-Stainless-Lang": "js", "Idempotency-Key": "k", "Content-Length": strconv.Itoa(len(chatBody)),
	}
	for name := range got.header {
		if want[name] != got.header.Get(name) {
			t.Errorf("the provider was sent %s: %q, want %q", name, got.header.Get(name), want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("the provider was not sent %v", want)
	}
	if got.query != "beta=%20x" || got.path != "/v1/chat/completions" {
		t.Errorf("the provider was asked for %s?%s", got.path, got.query)
	}
	if got.body != chatBody {
		t.Errorf("the body has changed: %s", got.body)
	}
	for _, name := range unwelcome {
		if res.Header.Get(name) != "" {
			t.Errorf("the client is told the provider's %s", name)
		}
	}
	// Others log this request, so it must not have our key in it.
	for name := range before {
		if strings.Join(in.Header[name], "") != strings.Join(before[name], "") {
			t.Errorf("the incoming header %s was changed", name)
		}
	}
}

// A provider may want its keys elsewhere than its API family does, and more
// headers, which take the place of the client's.
func TestProvidersOwnHeaders(t *testing.T) {
	t.Setenv("LLM_TEST_PROJECT", "project-1")
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	for _, test := range []struct {
		auth   *AuthHeader
		header string
		want   string
	}{
		{nil, "Authorization", "Bearer "},
		{&AuthHeader{Name: "x-token"}, "X-Token", ""},
		{&AuthHeader{Name: "Ocp-Apim-Subscription-Key"}, "Ocp-Apim-Subscription-Key", ""},
		{&AuthHeader{Name: "Authorization", Scheme: "Token"}, "Authorization", "Token "},
	} {
		key := test.header + test.want + t.Name()
		p := pool("p", up.URL, key)
		p.AuthHeader = test.auth
		p.Headers = map[string]string{"x-project": "{env.LLM_TEST_PROJECT}", "Accept": "application/json"}
		chat(t, provision(t, &Transport{Providers: []*Provider{p}, Retry: quick}), chatBody)
		seen := up.requests()
		got := seen[len(seen)-1].header
		if got.Get(test.header) != test.want+key || got.Get("X-Project") != "project-1" || got.Get("Accept") != "application/json" {
			t.Errorf("%+v: got %v", test.auth, got)
		}
		if test.header != "Authorization" && got.Get("Authorization") != "" {
			t.Errorf("the key went to Authorization too: %v", got)
		}
	}
	for name, p := range map[string]*Provider{
		"header \"a b\": not a name of a header":           {Headers: map[string]string{"a b": "c"}},
		"header Host: cannot be set":                       {Headers: map[string]string{"host": "c"}},
		"header a: the value has a control character":      {Headers: map[string]string{"a": "b\r\nc: d"}},
		"header a: unrecognized placeholder":               {Headers: map[string]string{"a": "{nothing.like.it}"}},
		"auth_header: header Accept-Encoding":              {AuthHeader: &AuthHeader{Name: "Accept-Encoding"}},
		"auth_header: the scheme has a control character ": {AuthHeader: &AuthHeader{Name: "A", Scheme: "\n"}},
	} {
		if err := p.provisionHeaders(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
}
