// SPDX-License-Identifier: Apache-2.0

package caddyfile

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// warnOfProxy tells of options of reverse_proxy that are allowed but do not fit.
func warnOfProxy(line syntax.Line, option []caddyfile.Token) {
	if option[0].Text != "unhealthy_status" {
		return
	}
	if slices.ContainsFunc(option[1:], func(t caddyfile.Token) bool { return t.Text == "429" || t.Text == "4xx" }) {
		line.Warn("unhealthy_status 429 takes one key's or one client's limit for the failure of all providers; leave it out, as keys that are rate limited rest by themselves")
	}
}

// warn tells of what is allowed in a block but comes to nothing.
func (b *block) warn() {
	if len(b.transport.Providers) > 0 { // else they are written elsewhere
		b.admission.WarnOfPrices(b.transport.MayBegin)
	}
}
