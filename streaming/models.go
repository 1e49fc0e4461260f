// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"net/http"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// named returns the lines of the models that clients may name in a family; nil
// if patterns leave that open, so that the provider alone knows.
func (r routes) named(family *wire.Family) []routeLine {
	var named []routeLine
	for _, line := range r.lines {
		if line.chains[family] == nil {
			continue
		}
		if strings.Contains(line.match, "*") {
			return nil
		}
		named = append(named, line)
	}
	return named
}

// listModels answers a client that asks which models there are, where the
// config knows: with those that the client may use, and whose
// providers it may. It returns nil for all
// other requests, and where the provider is to be asked.
func (t *Transport) listModels(req *http.Request, call *Call) *http.Response {
	if !call.Request.AsksForModels(req.Method) {
		return nil
	}
	named := t.routes.named(call.Request.Family)
	if named == nil {
		return nil
	}
	names := make([]string, 0, len(named))
	for _, line := range named {
		served := len(allowed(call.Providers).of(line.chains[call.Request.Family].targets)) > 0
		if served && (call.MayUse == nil || call.MayUse(line.match)) {
			names = append(names, line.match)
		}
	}
	call.Status, call.Outcome = http.StatusOK, OutcomeOK
	header := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {call.ID}}
	return newResponse(req, http.StatusOK, header, call.Request.ModelList(names))
}
