// SPDX-License-Identifier: Apache-2.0

// Package admin is what operators use: routes under /llm/ of Caddy's admin API
// and the commands of 'caddy llm', which speak to it.
package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(API{})
}

// API serves /llm/ in Caddy's admin API: the pools of keys and what can be
// done to a key, and the clients that are managed while Caddy runs. It shows no
// secrets, but that of a client once: to whoever has it made.
type API struct{}

// CaddyModule returns the Caddy module information.
func (API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.llm",
		New: func() caddy.Module { return new(API) },
	}
}

// Routes returns the routes by what they are about.
func (API) Routes() []caddy.AdminRoute {
	return slices.Concat(poolRoutes(), clientRoutes())
}

// handle answers a request. What it returns is the answer, as JSON; an error
// that is no [caddy.APIError] is one of ours.
type handle func(r *http.Request) (any, error)

// route makes a route that takes one method.
func route(method, pattern string, do handle) caddy.AdminRoute {
	return routeMethods(pattern, map[string]handle{method: do})
}

// routeMethods makes a route that takes several methods.
func routeMethods(pattern string, methods map[string]handle) caddy.AdminRoute {
	allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	return caddy.AdminRoute{Pattern: pattern, Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		do := methods[r.Method]
		if do == nil {
			w.Header().Set("Allow", allowed)
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("only %s is served here", allowed)}
		}
		answer, err := do(r)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: fmt.Errorf("writing the answer: %w", err)}
		}
		return nil
	})}
}

// notFound is the answer to a request for what is not there.
func notFound(message string) error {
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New(message)}
}

// Interface guard
var _ caddy.AdminRouter = API{}
