// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// checkProxy refuses what the reverse_proxy around the transport may not do. It
// knows one upstream, which stands for all providers: once it takes that out,
// nothing is served any more.
func checkProxy(ctx caddy.Context) error {
	around := ctx.Modules()
	if len(around) < 2 {
		return nil
	}
	proxy, ok := around[len(around)-2].(*reverseproxy.Handler)
	if !ok {
		return nil
	}
	checks := proxy.HealthChecks
	switch {
	case checks != nil && checks.Active != nil:
		return errors.New("reverse_proxy: active health checks (health_*) do not reach providers; the transport's 'probe' serves instead")
	case checks != nil && checks.Passive != nil:
		return errors.New("reverse_proxy: passive health checks (fail_duration, max_fails, unhealthy_*) would take one provider's or key's failures for all; the transport's 'breaker' serves instead")
	case proxy.LoadBalancing != nil:
		return errors.New("reverse_proxy: load balancing (lb_*) knows nothing of providers and keys; the transport's 'retry' and 'model', and 'select' of its providers, serve instead")
	case proxy.CBRaw != nil:
		return errors.New("reverse_proxy: a circuit_breaker would take one provider's failures for all; the transport's 'breaker' serves instead")
	}
	return nil
}

// notAdmitted is the answer to a request that no llm_proxy has admitted.
func notAdmitted(in *http.Request) *http.Response {
	family, _ := wire.Lookup("openai")
	if request, err := wire.Recognize(in.Method, in.URL, in.Header); err == nil {
		family = request.Family
	}
	e := wire.Error{
		Status: http.StatusInternalServerError, Code: "not_admitted",
		Message: "transport llm needs the llm_proxy handler in front: add 'llm_proxy' to the same route",
	}
	return newResponse(in, e.Status, http.Header{"Content-Type": {"application/json"}}, family.ErrorBody(e))
}
