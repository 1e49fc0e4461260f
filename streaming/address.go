// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// provisionAddress settles the API family and where the provider is.
func (p *Provider) provisionAddress() error {
	p.settleFamily()
	base, err := p.baseURL()
	if err != nil {
		return err
	}
	if base, err = caddy.NewReplacer().ReplaceOrErr(base, true, true); err != nil {
		return fmt.Errorf("base URL: %w", err)
	}
	if err := p.setBase(base); err != nil {
		return err
	}
	p.recognize()
	return nil
}

// settleFamily finds the API family, of which the name is known to be one if
// it is given.
func (p *Provider) settleFamily() {
	named, known := wire.ServiceNamed(p.Name)
	switch {
	case p.API != "":
		p.family, _ = wire.Lookup(p.API)
	case known:
		p.family = named.Family
	default:
		p.family, _ = wire.Lookup("openai")
	}
}

// baseURL returns the base URL as it is written, or else the default.
func (p *Provider) baseURL() (string, error) {
	if p.BaseURL != "" {
		return p.BaseURL, nil
	}
	named, known := wire.ServiceNamed(p.Name)
	if !known || named.Family != p.family || named.Base == "" {
		return "", fmt.Errorf("a base URL is needed, such as https://api.example.com/v1; only a provider named after a service that is known (%s) has a default",
			strings.Join(wire.ServiceNames(), ", "))
	}
	return named.Base, nil
}

// recognize finds out what the provider is: by its address, or by its name if
// that is the name of a server that may run at any address. A service that is
// asked for at another address is not what is known: it may be a proxy.
func (p *Provider) recognize() {
	named, _ := wire.ServiceNamed(p.Name)
	at, known := wire.ServiceAt(p.base.Hostname(), p.family)
	switch {
	case known:
		p.service = at
		if at.Family == p.family {
			p.base = at.Settle(p.base)
		}
	case named != nil && named.Runnable():
		p.service = named
	}
}

// serviceName returns what the provider is known to be, or else its family.
func (p *Provider) serviceName() string {
	if p.service == nil {
		return p.family.Name
	}
	return p.service.Name
}

func (p *Provider) setBase(base string) error {
	u, err := url.Parse(base)
	if err != nil {
		// Not the error itself: it repeats what may be a password.
		return errors.New("base URL: malformed; it should look like https://api.example.com/v1")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("base URL: there is no port %s", port)
		}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("base URL %q: must start with http:// or https:// and name a host", base)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("base URL: must not hold credentials, a query or a fragment")
	}
	if err := p.family.CheckBase(u); err != nil {
		return fmt.Errorf("base URL %q: %w", base, err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p.base = u
	p.dial = reverseproxy.DialInfo{
		Network: "tcp",
		Address: net.JoinHostPort(u.Hostname(), port),
		Host:    u.Hostname(),
		Port:    port,
	}
	return nil
}
