// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func init() {
	caddy.RegisterModule(new(LimitError))
}

// LimitError is an error handler that answers the calls which a rate_limit
// handler in front has refused. It says so as JSON in the shape of the
// client's API family, with the layer's own code; other errors it leaves to
// whoever comes next.
type LimitError struct {
	// GlobalZones are the zones of rate_limit that count all callers
	// together: who meets their limit is told that the service is busy. All
	// other zones are taken for limits of one address.
	GlobalZones []string `json:"global_zones,omitempty"`
}

// layer is what one layer of limits says when it refuses.
type layer struct {
	code string
	text text
	// wait is said where no real wait is known.
	wait time.Duration
}

var (
	addressLayer = layer{"rate_limit_exceeded", text{"too many requests from this address", "IP请求频率超限，请稍后重试"}, 60 * time.Second}
	globalLayer  = layer{"service_busy", text{"the service is busy", "服务繁忙，请稍后重试"}, 30 * time.Second}
)

// refuse returns the layer's refusal, in the client's language.
func (l layer) refuse(h http.Header, wait time.Duration) *refusal {
	f := refuse(http.StatusTooManyRequests, l.code, l.text.in(h))
	f.RetryAfter = wait
	if wait <= 0 {
		f.RetryAfter = l.wait
	}
	return f
}

// CaddyModule returns the Caddy module information.
func (*LimitError) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_limit_error",
		New: func() caddy.Module { return new(LimitError) },
	}
}

// ServeHTTP answers a refused call.
func (l *LimitError) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	cause, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !failed {
		return next.ServeHTTP(w, r)
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	zone, limited := repl.GetString("http.rate_limit.exceeded.name")
	var status caddyhttp.HandlerError
	if !limited || !errors.As(cause, &status) || status.StatusCode != http.StatusTooManyRequests {
		return cause
	}
	refused, name := addressLayer, metrics.LayerIP
	if slices.Contains(l.GlobalZones, zone) {
		refused, name = globalLayer, metrics.LayerGlobal
	}
	metrics.Process.MeetLimit(name, limits.Requests.String(), false)
	metrics.Process.Refuse(refused.code)
	// rate_limit has said how long its window takes to have room again.
	seconds, _ := strconv.Atoi(w.Header().Get("Retry-After"))
	skipBody(w, r)
	id := requestID(r)
	if access := accessLog(r); access != nil {
		access.Set(zap.String("request_id", id))
		access.Set(zap.String("llm_outcome", string(streaming.OutcomeRefused)))
		access.Set(zap.String("llm_code", refused.code))
	}
	return refused.refuse(r.Header, time.Duration(seconds)*time.Second).write(w, familyOf(r), id)
}

// familyOf returns the API family that a request is for, as far as that can be
// told.
func familyOf(r *http.Request) *wire.Family {
	if request, err := wire.Recognize(r.Method, r.URL, r.Header); err == nil {
		return request.Family
	}
	family, _ := wire.Lookup("openai")
	return family
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	llm_limit_error [<global zone>...]
func (l *LimitError) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	l.GlobalZones = d.RemainingArgs()
	if d.NextBlock(d.Nesting()) {
		return d.Errf("llm_limit_error: has no options, and so no %s", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*LimitError)(nil)
	_ caddyfile.Unmarshaler       = (*LimitError)(nil)
)
