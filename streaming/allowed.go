// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// allowed are patterns of the names of the providers that may serve a call; nil
// means that all may.
type allowed []string

func (a allowed) allows(p *Provider) bool {
	return a == nil || slices.ContainsFunc(a, func(pattern string) bool { return keypool.Matches(pattern, p.Name) })
}

// of returns those of the targets that may serve the call.
func (a allowed) of(targets []target) []target {
	if a == nil {
		return targets
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return !a.allows(t.provider) })
}

// narrow returns the chain without the targets that may not serve the call. It
// says false if that leaves nobody to begin with.
func (a allowed) narrow(r routes, req *wire.Request, c *chain) (narrow *chain, ok bool) {
	if a == nil {
		return c, true
	}
	narrow = &chain{targets: a.of(c.targets), contextLength: a.of(c.contextLength), contentFilter: a.of(c.contentFilter)}
	if c.split != nil {
		narrow.split = c.split.among(a)
	}
	if req.Model == "" && len(narrow.targets) == 0 {
		// It is the first of its family that serves what names no model.
		for _, p := range r.all[req.Family] {
			if a.allows(p) {
				narrow.targets = []target{{provider: p}}
				break
			}
		}
	}
	return narrow, len(narrow.targets) > 0
}

// notAllowed says that the client may not use any provider that could serve
// the call. It does not say which those are. Of a model that a list would not
// show, it says that there is none.
func notAllowed(req *wire.Request) wire.Error {
	if req.AsksForModel() {
		return wire.UnknownModel(req.Model)
	}
	message := "this API key may not use the provider that serves this path"
	if req.Model != "" {
		message = fmt.Sprintf("this API key may not use any provider of the model %q", req.Model)
	}
	return wire.Error{Status: http.StatusForbidden, Code: "provider_not_allowed", Message: message}
}
