// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"math"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	llm_proxy {
//		client           <id> <sha256:hex|placeholder>...
//		anonymous
//		max_request_body <size>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := h.ParseOption(d)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unrecognized subdirective %s", d.Val())
		}
	}
	return nil
}

// ParseOption parses the option that d stands at, if it is one of the
// handler's. The llm_proxy directive hands its options on through it.
func (h *Handler) ParseOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "client":
		err = h.parseClient(d)
	case "anonymous":
		if h.Anonymous {
			return true, d.Err("anonymous: already specified")
		}
		h.Anonymous = true
		if d.NextArg() {
			err = d.ArgErr()
		}
	case "max_request_body":
		err = h.parseMaxRequestBody(d)
	default:
		return false, nil
	}
	return true, err
}

func (h *Handler) parseClient(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("client: an id and a secret are needed, such as 'client app {env.APP_KEY_HASH}'")
	}
	id := args[0]
	if slices.ContainsFunc(h.Clients, func(other *Client) bool { return other.ID == id }) {
		return d.Errf("client %s: already specified", id)
	}
	if slices.Contains(args, "") {
		return d.Errf("client %s: an empty secret: if it comes from {$VARIABLE}, that variable is not set", id)
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("client %s: unrecognized option %s", id, d.Val())
	}
	h.Clients = append(h.Clients, &Client{ID: id, Secrets: args[1:]})
	return nil
}

func (h *Handler) parseMaxRequestBody(d *caddyfile.Dispenser) error {
	if h.MaxRequestBody != 0 {
		return d.Err("max_request_body: already specified")
	}
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > math.MaxInt64 {
		return d.Errf("max_request_body: not a size: %s", text)
	}
	h.MaxRequestBody = int64(size)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
