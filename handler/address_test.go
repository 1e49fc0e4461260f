// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Limits know a host by its address, whatever it is that it may choose of it.
func TestAddressOfAHost(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1":              "192.0.2.1",
		"[::ffff:192.0.2.1]:1":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::",
		"[2001:db8:1:2::ffff]:1":   "2001:db8:1:2::",
		"[fe80::1%25eth0]:1":       "fe80::",
	} {
		r := request("/v1/chat/completions", chat, "X-Forwarded-For", "203.0.113.1")
		r.RemoteAddr = remote
		repl, w := caddy.NewReplacer(), httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{})
		next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
		if err := new(Address).ServeHTTP(w, r, next); err != nil {
			t.Fatal(err)
		}
		if got, _ := repl.GetString("llm.address"); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
