// SPDX-License-Identifier: Apache-2.0

package caddyfile

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/seed83435595/caddy-llm-proxy/handler"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("llm_auth", parseAuth)
	httpcaddyfile.RegisterDirectiveOrder("llm_auth", httpcaddyfile.After, "basic_auth")
}

// parseAuth expands the llm_auth directive to Caddy's authentication handler
// with the provider llm, in a subroute that puts its refusals into words.
func parseAuth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	var provider handler.Authenticator
	if err := provider.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	authentication := caddyauth.Authentication{ProvidersRaw: caddy.ModuleMap{"llm": caddyconfig.JSON(&provider, nil)}}
	words := caddyconfig.JSONModuleObject(new(handler.AuthError), "handler", "llm_auth_error", nil)
	front := caddyconfig.JSONModuleObject(authentication, "handler", "authentication", nil)
	return inWords([]json.RawMessage{front}, words), nil
}

// inWords returns a subroute of handlers with one that puts their errors into
// words.
func inWords(handlers []json.RawMessage, words json.RawMessage) *caddyhttp.Subroute {
	return &caddyhttp.Subroute{
		Routes: caddyhttp.RouteList{{HandlersRaw: handlers}},
		Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{HandlersRaw: []json.RawMessage{words}}}},
	}
}
