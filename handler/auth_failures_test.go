// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// An address that comes with too many wrong keys is refused without a look at
// the next one, be it the right one. Others are not.
func TestWrongKeysBlockAnAddress(t *testing.T) {
	h := newHandler(t, &Handler{
		Callers: Callers{Clients: []*Client{newClient(t)}, AuthFailures: &AuthFailures{Limit: 3, Window: caddy.Duration(time.Hour)}},
	})
	from := func(address, key string) *http.Request {
		r := request("/v1/chat/completions", chat, "Authorization", key)
		r.RemoteAddr = address
		return r
	}
	for range 10 {
		checkRefused(t, h, from("203.0.113.7:1", ""), http.StatusUnauthorized, "invalid_api_key")
	}
	for range 3 {
		checkRefused(t, h, from("203.0.113.7:1", "Bearer wrong"), http.StatusUnauthorized, "invalid_api_key")
	}
	checkRefused(t, h, from("203.0.113.7:2", "Bearer wrong"), http.StatusTooManyRequests, "rate_limit_exceeded")
	checkRefused(t, h, from("203.0.113.7:3", "Bearer "+secret), http.StatusTooManyRequests, "rate_limit_exceeded")
	checkPassed(t, h, from("203.0.113.8:1", "Bearer "+secret))
}

// A request is one try, or a few: who fills its head with keys gains nothing.
func TestFewKeysOfARequestAreTried(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}})
	r := request("/v1/chat/completions", chat, "Authorization", "")
	for range maxCredentials {
		r.Header.Add("X-Api-Key", "wrong")
	}
	r.Header.Add("X-Api-Key", secret)
	checkRefused(t, h, r, http.StatusUnauthorized, "invalid_api_key")
	r.Header["X-Api-Key"] = r.Header["X-Api-Key"][1:]
	checkPassed(t, h, r)
}
