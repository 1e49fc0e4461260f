// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// names returns the models that clients may name in a family; nil if patterns
// leave that open, so that the provider alone knows.
func (r routes) names(family *wire.Family) []string {
	var names []string
	for _, line := range r.lines {
		if line.chains[family] == nil {
			continue
		}
		if strings.Contains(line.match, "*") {
			return nil
		}
		names = append(names, line.match)
	}
	return names
}

// listModels answers a client that asks which models there are, where the
// config knows: with those that the client may use. It returns nil for all
// other requests, and where the provider is to be asked.
func (t *Transport) listModels(req *http.Request, call *Call) *http.Response {
	if !call.Request.AsksForModels(req.Method) {
		return nil
	}
	names := t.routes.names(call.Request.Family)
	if names == nil {
		return nil
	}
	if call.MayUse != nil {
		names = slices.DeleteFunc(names, func(name string) bool { return !call.MayUse(name) })
	}
	call.Status, call.Outcome = http.StatusOK, OutcomeOK
	header := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {call.ID}}
	return newResponse(req, http.StatusOK, header, call.Request.ModelList(names))
}
