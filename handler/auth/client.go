// SPDX-License-Identifier: Apache-2.0

// Package auth knows the clients and tells from a secret, or from the word of
// somebody it trusts, which one is calling.
package auth

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// Client is somebody who may call us.
type Client struct {
	// ID is the client's name in logs, metrics and limits.
	ID string
	// Guest says that it is not known but by the word of somebody who vouches
	// for it.
	Guest bool
	// Outside says that it is a guest of somebody who may only vouch for members
	// of groups, and is in none.
	Outside bool
	// Models are patterns of the models that it may use; none means all.
	Models []string
	// Narrowing are further lists of patterns, of each of which one must match
	// too.
	Narrowing [][]string
	// Providers are patterns of the names of the providers that may serve it;
	// none means all.
	Providers []string
	// Groups are the names of those it belongs to.
	Groups []string
	// Limits are whose limits hold for it: its own, and those of its groups.
	Limits []*limits.Subject
	// Expires is when its access ends; zero means never.
	Expires time.Time
	// Disabled says that it has no access for now.
	Disabled bool
	// Networks are where it may call from; none means anywhere.
	Networks []netip.Prefix
	// Metadata are what operators want to know of it, in logs and records. It
	// is shared with those and never changed.
	Metadata map[string]string
}

// Expired tells whether the client's access has ended.
func (c *Client) Expired(now time.Time) bool {
	return !c.Expires.IsZero() && !now.Before(c.Expires)
}

// AllowsAddress tells whether the client may call from an address. The zero
// address, which nobody calls from, is in no network.
func (c *Client) AllowsAddress(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return len(c.Networks) == 0 || slices.ContainsFunc(c.Networks, func(n netip.Prefix) bool { return n.Contains(from) })
}

// maxID bounds a client's id, in bytes.
const maxID = 256

// ValidID tells whether a text may be a client's id, which goes into logs.
func ValidID(id string) bool {
	return id != "" && len(id) <= maxID && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c == 0x7f })
}
