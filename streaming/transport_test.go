// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// upstream is a provider for tests: it answers each request by a function and
// remembers what it was asked.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

type seen struct {
	key    string
	path   string
	query  string
	header http.Header
	body   string
}

// newUpstream starts a provider. answer gets the key that was used.
func newUpstream(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, key string)) *upstream {
	t.Helper()
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		u.mu.Lock()
		u.seen = append(u.seen, seen{key, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), string(body)})
		u.mu.Unlock()
		answer(w, r, key)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) requests() []seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]seen(nil), u.seen...)
}

// keysAsked returns the keys in the order in which they were used.
func (u *upstream) keysAsked() string {
	var keys []string
	for _, s := range u.requests() {
		keys = append(keys, s.key)
	}
	return strings.Join(keys, " ")
}

// provision makes a transport ready. Keys are named after the test, since
// their state is shared by all configs of a process.
func provision(t *testing.T, tr *Transport) *Transport {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = tr.Cleanup() })
	if err := tr.Provision(ctx); err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	if err := tr.Validate(); err != nil {
		t.Fatalf("validating: %v", err)
	}
	return tr
}

// pool is a provider with these keys, each named by its own secret.
func pool(name, base string, keys ...string) *Provider {
	p := &Provider{Name: name, BaseURL: base}
	for _, key := range keys {
		p.Keys = append(p.Keys, &Key{ID: key, Secret: key})
	}
	return p
}

// quick has no pauses between retries worth mentioning.
var quick = Retry{Delay: caddy.Duration(time.Microsecond)}

const chatBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`
const chatStreamBody = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}`

// post carries one call through the transport, as the handler would.
func post(t *testing.T, ctx context.Context, tr *Transport, path, body string) (*http.Response, *Call) {
	t.Helper()
	return send(t, ctx, tr, path, http.Header{"Content-Type": {"application/json"}}, body)
}

// postAs is post for a body of any type.
func postAs(t *testing.T, ctx context.Context, tr *Transport, path, media, body string) (*http.Response, *Call) {
	t.Helper()
	return send(t, ctx, tr, path, http.Header{"Content-Type": {media}}, body)
}

// postHeader is post with headers of the client's.
func postHeader(t *testing.T, ctx context.Context, tr *Transport, path string, header http.Header, body string) (*http.Response, *Call) {
	t.Helper()
	header = header.Clone()
	header.Set("Content-Type", "application/json")
	return send(t, ctx, tr, path, header, body)
}

// send carries one call with these headers.
func send(t *testing.T, ctx context.Context, tr *Transport, path string, header http.Header, body string) (*http.Response, *Call) {
	t.Helper()
	return request(t, ctx, tr, http.MethodPost, path, header, body)
}

// request carries one call of any method.
func request(t *testing.T, ctx context.Context, tr *Transport, method, path string, header http.Header, body string) (*http.Response, *Call) {
	t.Helper()
	u := &url.URL{Path: path}
	u.Path, u.RawQuery, _ = strings.Cut(path, "?")
	request, err := wire.Recognize(method, u, http.Header{})
	if err != nil {
		t.Fatalf("recognizing %s: %v", path, err)
	}
	if err := request.ReadBody(header.Get("Content-Type"), []byte(body)); err != nil {
		t.Fatalf("reading body: %v", err)
	}
	call := &Call{ID: "test-request", Request: request, Body: []byte(body), Started: time.Now()}
	in := httptest.NewRequestWithContext(WithCall(ctx, call), method, "http://gateway"+path, nil)
	in.Header = header.Clone()
	in.Header.Set("Authorization", "Bearer client-secret")
	res, err := tr.RoundTrip(in)
	if err != nil {
		call.Close()
		return nil, call
	}
	t.Cleanup(func() { res.Body.Close() })
	return res, call
}

// chat carries one chat call through and reads the answer.
func chat(t *testing.T, tr *Transport, body string) (status int, text string, call *Call) {
	t.Helper()
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", body)
	if res == nil {
		t.Fatal("no response")
	}
	read, err := io.ReadAll(res.Body)
	if err != nil {
		t.Logf("reading the answer: %v", err)
	}
	res.Body.Close()
	return res.StatusCode, string(read), call
}

const chatAnswer = `{"id":"c1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}`

func answerJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// stream writes events one by one.
func stream(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, event := range events {
		_, _ = io.WriteString(w, event)
		_ = http.NewResponseController(w).Flush()
	}
}

func chunk(text string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}]}` + "\n\n"
}

const (
	roleChunk   = `data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	finishChunk = `data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	doneEvent   = "data: [DONE]\n\n"
)

func httpURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
