// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// TrustUser takes the word of authentication handlers in front for who is
// calling.
type TrustUser struct {
	// ID is a placeholder that names the caller. Where it is empty, the caller
	// needs a key or a token. Default: {http.auth.user.id}.
	ID string `json:"id,omitempty"`

	// GroupsFrom is a placeholder that lists the names of the caller's groups,
	// between commas, vertical bars or spaces, such as
	// {http.auth.user.groups}. Names that are none of a group are ignored.
	// Default: nothing is said of groups.
	GroupsFrom string `json:"groups_from,omitempty"`

	Membership

	line syntax.Line
}

// checkTrust refuses groups that there are not.
func (h *Handler) checkTrust() error {
	if h.TrustUser == nil {
		return nil
	}
	if err := h.TrustUser.check(&h.Callers); err != nil {
		return h.TrustUser.line.Wrap(fmt.Errorf("trust_user: %w", err))
	}
	return nil
}

// openTrust gets ready what tells whom a handler in front has named.
func (h *Handler) openTrust() error {
	h.trusting = h.TrustUser != nil
	if h.trusting && h.TrustUser.ID == "" {
		h.TrustUser.ID = "{http.auth.user.id}"
	}
	return h.checkTrust()
}

// trustedUser returns who a handler in front says is calling.
func (h *Handler) trustedUser(r *http.Request) string {
	if h.TrustUser == nil {
		return ""
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl.ReplaceAll(h.TrustUser.ID, "")
}

// named returns the client that a trusted handler has named.
func (h *Handler) named(r *http.Request, id string) (*auth.Client, *refusal) {
	if !auth.ValidID(id) {
		metrics.Process.FailAuth(metrics.AuthWrong)
		return nil, unauthorized()
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	groups := auth.SplitTexts(repl.ReplaceAll(h.TrustUser.GroupsFrom, ""))
	granted := &grant{id: id}
	h.TrustUser.place(granted, &h.Callers, groups)
	return h.vouchedFor(granted), nil
}

// parseTrustUser parses "trust_user [<placeholder>] { … }".
func (h *Handler) parseTrustUser(d *caddyfile.Dispenser) error {
	if h.TrustUser != nil {
		return d.Err("trust_user: already specified")
	}
	t := &TrustUser{line: syntax.At(d)}
	if d.NextArg() {
		t.ID = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	block := t.options()
	block["groups_from"] = &t.GroupsFrom
	if err := block.parse(d, "trust_user"); err != nil {
		return err
	}
	h.TrustUser = t
	return nil
}
