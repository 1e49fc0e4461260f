// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

func init() {
	caddy.RegisterModule(new(Address))
}

// Address sets the placeholder `{llm.address}`, by which limits know the
// caller: its address as Caddy knows it by its trusted proxies or, of IPv6,
// the network of 64 bits that one host has to itself. A limit of each single
// address would be none there.
type Address struct{}

// CaddyModule returns the Caddy module information.
func (*Address) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_address",
		New: func() caddy.Module { return new(Address) },
	}
}

// ServeHTTP sets the placeholder and hands the request on.
func (*Address) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Set("llm.address", auth.Host(clientAddress(r)).String())
	return next.ServeHTTP(w, r)
}

// clientAddress is who Caddy says is calling: the peer or, where that is a
// trusted proxy, whom it names. It is the zero address if that is none.
func clientAddress(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, _ := netip.ParseAddr(text)
	return address
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = (*Address)(nil)
