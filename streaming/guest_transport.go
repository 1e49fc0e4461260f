// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// defaultIdleConns is how many idle connections to a provider are kept.
const defaultIdleConns = 256

// provisionTransport loads the transport to the provider. Caddy's own turns
// TLS on only when it is told to, so it is told to for https.
func (p *Provider) provisionTransport(ctx caddy.Context, connect caddy.Duration) error {
	options := map[string]json.RawMessage{}
	if len(p.TransportRaw) > 0 {
		if err := json.Unmarshal(p.TransportRaw, &options); err != nil {
			return fmt.Errorf("reading transport: %w", err)
		}
	} else {
		options["protocol"] = json.RawMessage(`"http"`)
	}
	if string(options["protocol"]) == `"http"` {
		if p.base.Scheme == "https" && options["tls"] == nil {
			options["tls"] = json.RawMessage(`{}`)
		}
		if options["keep_alive"] == nil {
			options["keep_alive"] = json.RawMessage(fmt.Sprintf(`{"max_idle_conns_per_host":%d}`, defaultIdleConns))
		}
		if connect > 0 && options["dial_timeout"] == nil {
			options["dial_timeout"] = json.RawMessage(strconv.FormatInt(int64(connect), 10))
		}
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("writing transport: %w", err)
	}
	guest := struct {
		Raw json.RawMessage `caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
	}{raw}
	module, err := ctx.LoadModule(&guest, "Raw")
	if err != nil {
		return fmt.Errorf("loading transport: %w", err)
	}
	transport, ok := module.(http.RoundTripper)
	if _, nested := module.(*Transport); !ok || nested {
		return fmt.Errorf("transport %s cannot carry requests to a provider", options["protocol"])
	}
	p.transport = transport
	return checkTransport(module)
}

// checkTransport refuses what a transport to a provider may not do.
func checkTransport(module any) error {
	if t, ok := module.(reverseproxy.ProxyProtocolTransport); ok && t.ProxyProtocolEnabled() {
		return errors.New("transport: proxy_protocol names one client for a whole connection, and the connections to a provider serve many; take it out")
	}
	return nil
}
