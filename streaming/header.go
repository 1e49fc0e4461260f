// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// AuthHeader is where a provider wants its keys.
type AuthHeader struct {
	// Name is the header's name.
	Name string `json:"name"`

	// Scheme is what stands before the key, with a space between them, such
	// as Bearer. Default: nothing.
	Scheme string `json:"scheme,omitempty"`
}

// ours are the headers that belong to the connection or to what we do with the
// answer.
var ours = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// checkHeader returns the canonical form of a header's name, if the header may
// be set.
func checkHeader(name string) (string, error) {
	const separators = `()<>@,;:\"/[]?={} `
	if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(separators, c) }) {
		return "", fmt.Errorf("header %q: not a name of a header", name)
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	if slices.Contains(ours, name) {
		return "", fmt.Errorf("header %s: cannot be set, as it belongs to the connection or to how the answer is read", name)
	}
	return name, nil
}

// provisionHeaders makes ready what is sent with each request.
func (p *Provider) provisionHeaders() error {
	if p.AuthHeader != nil {
		name, err := checkHeader(p.AuthHeader.Name)
		if err != nil {
			return fmt.Errorf("auth_header: %w", err)
		}
		if strings.ContainsFunc(p.AuthHeader.Scheme, unicode.IsControl) {
			return errors.New("auth_header: the scheme has a control character in it")
		}
		p.AuthHeader.Name = name
	}
	repl := caddy.NewReplacer()
	p.headers = make(http.Header, len(p.Headers))
	for name, value := range p.Headers {
		canonical, err := checkHeader(name)
		if err != nil {
			return err
		}
		if value, err = repl.ReplaceOrErr(value, true, true); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
		if strings.ContainsFunc(value, unicode.IsControl) {
			return fmt.Errorf("header %s: the value has a control character in it", name)
		}
		p.headers[canonical] = []string{value}
	}
	return nil
}

// authorize puts a key into the header of a request.
func (p *Provider) authorize(h http.Header, secret string) {
	p.family.Authorize(h, secret)
	if p.AuthHeader != nil {
		wire.StripCredentials(h)
		if p.AuthHeader.Scheme != "" {
			secret = p.AuthHeader.Scheme + " " + secret
		}
		h[p.AuthHeader.Name] = []string{secret}
	}
}

// addHeaders puts what else the provider wants into the header of a request.
func (p *Provider) addHeaders(h http.Header) {
	for name, values := range p.headers {
		h[name] = values
	}
}

// parseAuthHeader parses "auth_header <name> [<scheme>]".
func (p *Provider) parseAuthHeader(d *caddyfile.Dispenser) error {
	if p.AuthHeader != nil {
		return d.Err("auth_header: already specified")
	}
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.Err("auth_header: wants the name of a header, and what stands before the key, if anything does: 'auth_header Authorization Token'")
	}
	if _, err := checkHeader(args[0]); err != nil {
		return d.Errf("auth_header: %v", err)
	}
	p.AuthHeader = &AuthHeader{Name: args[0]}
	if len(args) == 2 {
		p.AuthHeader.Scheme = args[1]
	}
	return nil
}

// parseHeader parses "header <name> <value>".
func (p *Provider) parseHeader(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.Err("header: wants a name and a value")
	}
	canonical, err := checkHeader(name)
	if err != nil {
		return d.Err(err.Error())
	}
	for other := range p.Headers {
		if textproto.CanonicalMIMEHeaderKey(other) == canonical {
			return d.Errf("header %s: already specified", name)
		}
	}
	if p.Headers == nil {
		p.Headers = map[string]string{}
	}
	p.Headers[name] = value
	return nil
}
