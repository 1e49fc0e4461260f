// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

// newClient returns a client with the test's secret. Its id is the test's, so
// that tests don't share what they use.
func newClient(t *testing.T) *Client {
	return &Client{ID: t.Name(), Secrets: []string{auth.HashSecret(secret).String()}}
}

// checkRefused checks that a call is refused with a status and a code.
func checkRefused(t *testing.T, h *Handler, r *http.Request, status int, code string) {
	t.Helper()
	w, passed, err := serve(h, r)
	if passed || err != nil || w.Code != status || !strings.Contains(w.Body.String(), `"`+code+`"`) {
		t.Errorf("got %d %s, passed %t, error %v; want %d %s", w.Code, w.Body, passed, err, status, code)
	}
}

func checkPassed(t *testing.T, h *Handler, r *http.Request) {
	t.Helper()
	if w, passed, err := serve(h, r); !passed || err != nil {
		t.Errorf("refused with %d %s, %v", w.Code, w.Body, err)
	}
}

// A client may use its models and no others, wherever a request names them.
func TestModelsOfAClient(t *testing.T) {
	c := newClient(t)
	c.Models = []string{"gpt-4o-*", "gemini-2.5-flash"}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	const chat = "/v1/chat/completions"
	checkPassed(t, h, request(chat, `{"model":"gpt-4o-mini"}`))
	checkPassed(t, h, request("/v1beta/models/gemini-2.5-flash:generateContent", `{}`))
	list := request("/v1/models", "")
	list.Method = http.MethodGet
	checkPassed(t, h, list)

	for name, r := range map[string]*http.Request{
		"another":             request(chat, `{"model":"gpt-4o"}`),
		"in the path":         request("/v1beta/models/gemini-2.5-pro:generateContent", `{}`),
		"as an alternative":   request(chat, `{"model":"gpt-4o-mini","models":["gpt-4o-mini","o1-pro"]}`),
		"twice":               request(chat, `{"model":"gpt-4o-mini","model":"o1-pro"}`),
		"none, by default":    request("/v1/images/generations", `{"prompt":"x"}`),
		"none, within a file": request("/v1/batches", `{"input_file_id":"file-1"}`),
	} {
		t.Run(name, func(t *testing.T) { checkRefused(t, h, r, http.StatusForbidden, "model_not_allowed") })
	}
}

// A model that no list would show to a client is not there when it asks for that
// one alone.
func TestOneModelThatAClientMayNotUseIsNotThere(t *testing.T) {
	c := newClient(t)
	c.Models = []string{"gpt-4o*"}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	get := func(path string) *http.Request {
		r := request(path, "")
		r.Method = http.MethodGet
		return r
	}
	checkPassed(t, h, get("/v1/models/gpt-4o-mini"))
	checkPassed(t, h, get("/v1/models"))
	checkRefused(t, h, get("/v1/models/o1"), http.StatusNotFound, "model_not_found")
	checkRefused(t, h, get("/v1beta/models/o1"), http.StatusNotFound, "NOT_FOUND")
	checkRefused(t, h, get("/v1/models/gpt-4"), http.StatusNotFound, "model_not_found")
}

// A client whose time is over is refused, before its body is read.
func TestExpiredClient(t *testing.T) {
	c := newClient(t)
	c.Expires = "2020-01-01"
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	r := request("/v1/chat/completions", "")
	r.Body = http.MaxBytesReader(nil, readPanicsCloser{}, 100)
	checkRefused(t, h, r, http.StatusUnauthorized, "expired_api_key")
}

type readPanicsCloser struct{ readPanics }

func (readPanicsCloser) Close() error { return nil }

// A client calls from its own networks only; X-Forwarded-For changes nothing.
func TestAddressesOfAClient(t *testing.T) {
	c := newClient(t)
	c.AllowIP = []string{"192.0.2.0/24", "2001:db8::1"}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	for address, allowed := range map[string]bool{
		"192.0.2.1:1234": true, "[2001:db8::1]:1234": true, "198.51.100.1:1234": false, "[2001:db8::2]:1234": false,
	} {
		r := request("/v1/chat/completions", chat, "X-Forwarded-For", "192.0.2.1")
		r.RemoteAddr = address
		if allowed {
			checkPassed(t, h, r)
		} else {
			checkRefused(t, h, r, http.StatusForbidden, "address_not_allowed")
		}
	}
}

// What a config says of a client wrongly is an error when it is loaded.
func TestBadClientsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Handler, *Client){
		"expires":      func(_ *Handler, c *Client) { c.Expires = "soon" },
		"address":      func(_ *Handler, c *Client) { c.AllowIP = []string{"10.0.0.0/99"} },
		"kind":         func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "money", Amount: 1, Per: "day"}} },
		"no period":    func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Amount: 1}} },
		"two periods":  func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Amount: 1, Per: "day", Window: 1e9}} },
		"tiny window":  func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Amount: 1, Window: 5}} },
		"nothing":      func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Per: "day"}} },
		"less":         func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Amount: -1, Per: "day"}} },
		"half a token": func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Amount: 1.5, Per: "day"}} },
		"absurd":       func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "tokens", Amount: 1e18, Per: "day"}} },
		"zone": func(_ *Handler, c *Client) {
			c.Limits = []*Limit{{Kind: "tokens", Amount: 1, Per: "day", TimeZone: "Mars"}}
		},
		"zone, no day": func(_ *Handler, c *Client) {
			c.Limits = []*Limit{{Kind: "tokens", Amount: 1, Window: 1e9, TimeZone: "UTC"}}
		},
		"period of calls": func(_ *Handler, c *Client) { c.Limits = []*Limit{{Kind: "concurrent", Amount: 1, Per: "day"}} },
		"twice": func(_ *Handler, c *Client) {
			c.Limits = []*Limit{{Kind: "tokens", Amount: 1, Per: "day"}, {Kind: "tokens", Amount: 2, Per: "day", TimeZone: "UTC"}}
		},
		"null client": func(h *Handler, _ *Client) { h.Clients = append(h.Clients, nil) },
		"null limit":  func(_ *Handler, c *Client) { c.Limits = []*Limit{nil} },
		"default":     func(h *Handler, _ *Client) { h.UserLimits = []*Limit{{Kind: "tokens"}} },
		"no secret":   func(_ *Handler, c *Client) { c.Secrets = nil },
		"control id":  func(_ *Handler, c *Client) { c.ID = "a\nb" },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := newContext(t)
			c := newClient(t)
			h := &Handler{Callers: Callers{Clients: []*Client{c}}}
			spoil(h, c)
			if err := h.Provision(ctx); err == nil {
				t.Error("accepted")
			}
			if err := h.Cleanup(); err != nil {
				t.Errorf("cleaning up: %v", err)
			}
		})
	}
}
