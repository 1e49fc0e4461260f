// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// Claims say what is taken from the claims of a token. A claim within others
// is written with dots, such as realm_access.roles; a dot of a name itself is
// written \. as in https://example\.com/roles.
type Claims struct {
	// Claim holds the client's id. Default: sub.
	Claim string `json:"claim,omitempty"`

	// IDPrefix stands before the ids of the issuer's clients, so that they are
	// not another issuer's of the same name. Default: none.
	IDPrefix string `json:"id_prefix,omitempty"`

	// GroupsClaim holds the names of the client's groups: a list of texts, or
	// a text that lists them between commas, vertical bars or spaces. Names
	// that are none of a group are ignored. Default: tokens name no groups.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// ModelsClaim holds patterns of the models that the client may use, in the
	// same form. They narrow what it may, and never widen it.
	// Default: tokens say nothing of models.
	ModelsClaim string `json:"models_claim,omitempty"`

	// LimitsClaim holds the client's own limits: an object such as
	// {"requests_per_minute": 60, "cost_per_month": 20, "concurrent": 4}, or a
	// list of limits as they stand in a config. A token whose limits cannot be
	// understood is refused. Default: tokens say nothing of limits.
	LimitsClaim string `json:"limits_claim,omitempty"`

	Membership

	id, groups, models, limits auth.Path
}

// grant is what somebody who vouches for a caller says of it.
type grant struct {
	id     string
	groups []string
	// outside says that a group is required, and that there is none.
	outside bool
	limits  []limits.Rule
	// narrowing is of the models: none or one list of patterns.
	narrowing [][]string
}

// errBadClaims is a token that is good, but whose claims are not.
var errBadClaims = errors.New("a token's claims are not understood")

// check refuses claims that cannot be found, and groups that there are not. It
// gets ready what finds the claims.
func (c *Claims) check(who *Callers) error {
	for _, claim := range []struct {
		name string
		path *auth.Path
	}{{cmp.Or(c.Claim, "sub"), &c.id}, {c.GroupsClaim, &c.groups}, {c.ModelsClaim, &c.models}, {c.LimitsClaim, &c.limits}} {
		if claim.name == "" {
			continue
		}
		path, err := auth.ParsePath(claim.name)
		if err != nil {
			return err
		}
		*claim.path = path
	}
	return c.Membership.check(who)
}

// grant returns what a token says of its client.
func (c *Claims) grant(who *Callers, claims auth.Claims) (*grant, error) {
	g := &grant{id: c.IDPrefix + claims.Text(c.id)}
	if g.id == c.IDPrefix || !auth.ValidID(g.id) {
		return nil, fmt.Errorf("%w: %s: is no client id", errBadClaims, strings.Join(c.id, "."))
	}
	groups, _, err := claims.Texts(c.groups)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errBadClaims, c.GroupsClaim, err)
	}
	c.place(g, who, groups)
	models, narrowed, err := claims.Texts(c.models)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errBadClaims, c.ModelsClaim, err)
	}
	if narrowed {
		g.narrowing = [][]string{models}
	}
	if value, ok := claims.Find(c.limits); ok {
		if g.limits, err = readLimits(value); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errBadClaims, c.LimitsClaim, err)
		}
	}
	return g, nil
}

// options are those about claims.
func (c *Claims) options() options {
	all := c.Membership.options()
	all["claim"], all["id_prefix"] = &c.Claim, &c.IDPrefix
	all["groups_claim"], all["models_claim"], all["limits_claim"] = &c.GroupsClaim, &c.ModelsClaim, &c.LimitsClaim
	return all
}
