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
