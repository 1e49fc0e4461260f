// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

const secret = "clp-test-secret"

func newHandler(t *testing.T, h *Handler) *Handler {
	t.Helper()
	ctx := newContext(t)
	t.Cleanup(func() { _ = h.Cleanup() }) // before its storage is removed
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	return h
}

// newContext returns a context with a storage of the test's own.
func newContext(t *testing.T) caddy.Context {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir()) // where Caddy keeps its instance's id
	storage := caddyconfig.JSONModuleObject(&filestorage.FileStorage{Root: t.TempDir()}, "module", "file_system", nil)
	ctx, err := caddy.ProvisionContext(&caddy.Config{StorageRaw: storage})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func withClient(t *testing.T) *Handler {
	return newHandler(t, &Handler{
		Callers:        Callers{Clients: []*Client{{ID: "app", Secrets: []string{auth.HashSecret(secret).String()}}}},
		MaxRequestBody: 1000,
	})
}

// serve sends a request through the handler. It returns the answer and
// whether the call was handed on.
func serve(h *Handler, r *http.Request) (*httptest.ResponseRecorder, bool, error) {
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	passed := false
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		passed = true
		return nil
	}))
	return w, passed, err
}

func request(path, body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

const chat = `{"model":"gpt-4o","messages":[]}`

// A client's key is taken from wherever its SDK puts it.
func TestClientKeyPlaces(t *testing.T) {
	h := withClient(t)
	for name, r := range map[string]*http.Request{
		"bearer":        request("/v1/chat/completions", chat),
		"bearer, lower": request("/v1/chat/completions", chat, "Authorization", "bearer "+secret),
		"x-api-key":     request("/v1/messages", chat, "Authorization", "", "X-Api-Key", secret),
		"api-key":       request("/v1/chat/completions", chat, "Authorization", "", "Api-Key", secret),
		"google":        request("/v1beta/models/g:generateContent", `{"contents":[]}`, "Authorization", "", "X-Goog-Api-Key", secret),
		"query":         request("/v1beta/models/g:generateContent?key="+secret, `{"contents":[]}`, "Authorization", ""),
		"second place":  request("/v1/messages", chat, "Authorization", "Bearer something-else", "X-Api-Key", secret),
	} {
		if w, passed, err := serve(h, r); !passed || err != nil {
			t.Errorf("%s: refused with %d %s, %v", name, w.Code, w.Body, err)
		}
	}
}

// What cannot be served is refused in the API family's own shape, with a code
// that programs can rely on, before anything goes on.
func TestRefusals(t *testing.T) {
	tooLong := `{"model":"gpt-4o","messages":"` + strings.Repeat("x", 1000) + `"}`
	chunked := request("/v1/chat/completions", tooLong)
	chunked.ContentLength = -1
	for name, test := range map[string]struct {
		request *http.Request
		status  int
		says    string
	}{
		"no key":             {request("/v1/chat/completions", chat, "Authorization", ""), 401, `"code":"invalid_api_key"`},
		"wrong key":          {request("/v1/chat/completions", chat, "Authorization", "Bearer wrong"), 401, `"type":"authentication_error"`},
		"hash as key":        {request("/v1/chat/completions", chat, "Authorization", "Bearer "+auth.HashSecret(secret).String()), 401, `"code":"invalid_api_key"`},
		"wrong, anthropic":   {request("/v1/messages", chat, "Authorization", "Bearer wrong"), 401, `{"type":"error","error":{"type":"authentication_error"`},
		"wrong, gemini":      {request("/v1beta/models/g:generateContent", `{}`, "Authorization", "Bearer wrong"), 401, `"status":"UNAUTHENTICATED"`},
		"tunnel":             {httptest.NewRequest(http.MethodConnect, "/v1/realtime", nil), 405, `"code":"method_not_allowed"`},
		"unknown path":       {request("/admin", chat), 404, `"code":"unknown_path"`},
		"path tricks":        {request("/v1/%2e%2e/admin", chat), 404, `"code":"unknown_path"`},
		"no body":            {request("/v1/chat/completions", ""), 400, `"code":"missing_body"`},
		"broken JSON":        {request("/v1/chat/completions", `{"model":"gpt-4o",`), 400, `"code":"invalid_json"`},
		"no model":           {request("/v1/chat/completions", `{"messages":[]}`), 400, `"code":"missing_model"`},
		"model no string":    {request("/v1/chat/completions", `{"model":7}`), 400, `"code":"invalid_model"`},
		"too large":          {request("/v1/chat/completions", tooLong), 413, `"code":"request_too_large"`},
		"too large, chunked": {chunked, 413, `"code":"request_too_large"`},
		"compressed":         {request("/v1/chat/completions", "\x1f\x8b\x08", "Content-Encoding", "gzip"), 415, `"code":"unsupported_encoding"`},
	} {
		t.Run(name, func(t *testing.T) {
			w, passed, err := serve(withClient(t), test.request)
			if passed || err != nil {
				t.Fatalf("passed: %t, error: %v", passed, err)
			}
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
				t.Errorf("got %d %s\nwant %d with %s", w.Code, w.Body, test.status, test.says)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Error("the answer is not JSON")
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Error("the answer holds the client's key")
			}
		})
	}
}

// readPanics is a body that must not be touched.
type readPanics struct{ io.Reader }

func (readPanics) Read([]byte) (int, error) { panic("the body was read") }

// A caller without a key costs no body.
func TestNoKeyNoBodyRead(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", readPanics{})
	if w, _, _ := serve(withClient(t), r); w.Code != http.StatusUnauthorized {
		t.Errorf("got %d", w.Code)
	}
}

// shortBody promises more than it holds.
type shortBody struct{ *strings.Reader }

func (b shortBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A body that ends before its Content-Length is not taken for a whole one.
func TestLyingContentLength(t *testing.T) {
	r := request("/v1/chat/completions", "")
	r.Body, r.ContentLength = io.NopCloser(shortBody{strings.NewReader(chat)}), 500
	if w, passed, _ := serve(withClient(t), r); passed || w.Code != http.StatusBadRequest {
		t.Errorf("got %d, passed %t", w.Code, passed)
	}
}

// Without auth a config is refused, unless it says so.
func TestNobodyMayCall(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	h := new(Handler)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Validate(); err == nil || !strings.Contains(err.Error(), "anonymous") {
		t.Errorf("got %v", err)
	}
	open := newHandler(t, &Handler{Anonymous: true})
	if _, passed, _ := serve(open, request("/v1/chat/completions", chat, "Authorization", "")); !passed {
		t.Error("anonymous: refused")
	}
}

// A secret may come in the clear only from where configs do not show it.
func TestSecretFromEnvironment(t *testing.T) {
	t.Setenv("TEST_CLIENT_KEY", secret)
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{{ID: "app", Secrets: []string{"{env.TEST_CLIENT_KEY}"}}}}})
	if _, passed, _ := serve(h, request("/v1/chat/completions", chat)); !passed {
		t.Error("refused")
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	plain := &Handler{Callers: Callers{Clients: []*Client{{ID: "app", Secrets: []string{secret}}}}}
	if err := plain.Provision(ctx); !errors.Is(err, auth.ErrNotHashed) || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
}
