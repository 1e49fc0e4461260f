// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
)

func init() {
	caddy.RegisterModule(new(AuthError))
}

// refusalVar is the variable of a request that holds why the authentication
// provider let nobody in.
const refusalVar = "llm_auth_refusal"

// AuthError is an error handler that answers the requests which the
// authentication provider llm has refused, in the shape of the client's API
// family. Without it Caddy answers them all with 401, also where a token could
// not be judged, which is 503. Other errors it leaves to whoever comes next.
type AuthError struct{}

// CaddyModule returns the Caddy module information.
func (*AuthError) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_auth_error",
		New: func() caddy.Module { return new(AuthError) },
	}
}

// ServeHTTP answers a refused request.
func (*AuthError) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	cause, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !failed {
		return next.ServeHTTP(w, r)
	}
	refused, ok := caddyhttp.GetVar(r.Context(), refusalVar).(*refusal)
	var status caddyhttp.HandlerError
	if !ok || !errors.As(cause, &status) || status.StatusCode != http.StatusUnauthorized {
		return cause
	}
	metrics.Process.Refuse(refused.Code)
	skipBody(w, r)
	return refused.write(w, familyOf(r), requestID(r))
}

// requestID returns the id under which the log knows a request.
func requestID(r *http.Request) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	id, _ := repl.GetString("http.request.uuid")
	return id
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = (*AuthError)(nil)
