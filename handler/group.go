// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Group is what several clients have in common.
type Group struct {
	// Name is by what its members name the group, without spaces, commas and
	// vertical bars, by which lists of groups are divided. What they have used
	// together is counted under it for the whole of Caddy.
	Name string `json:"name"`

	// Models are patterns of the models that members may use who have none of
	// their own. Who is in several groups may use the models of all of them.
	// Default: the group says nothing about models.
	Models []string `json:"models,omitempty"`

	// Providers are patterns of the names of the providers that may serve
	// members who have none of their own; those of several groups add up.
	// Default: the group says nothing about providers.
	Providers []string `json:"providers,omitempty"`

	// Limits are how much the members may use together or, of those with Each,
	// every one of them.
	Limits []*Limit `json:"limits,omitempty"`

	line, providersLine syntax.Line
}

// group is a Group made ready.
type group struct {
	models, providers []string
	// shared is whose limits all members share; nil if there are none.
	shared *limits.Subject
	// each are the limits of every single member.
	each []limits.Rule
}

// openGroups makes the groups ready.
func (who *Callers) openGroups() error {
	who.groups = make(map[string]group, len(who.Groups))
	for i, g := range who.Groups {
		if g == nil {
			return fmt.Errorf("group %d: null", i+1)
		}
		made, err := g.ready()
		if err == nil && !auth.ValidID(g.Name) {
			err = errors.New("a group needs a name, without control characters")
		}
		if err == nil && !slices.Equal(auth.SplitTexts(g.Name), []string{g.Name}) {
			err = errors.New("a name with spaces, commas or bars could be taken for several, where groups are listed in one text; choose another one, to which map_group can map this")
		}
		if _, twice := who.groups[g.Name]; err == nil && twice {
			err = errors.New("the name is used twice")
		}
		if err != nil {
			return g.line.Wrap(fmt.Errorf("group %d (%q): %w", i+1, g.Name, err))
		}
		who.groups[g.Name] = made
	}
	return nil
}

func (g *Group) ready() (group, error) {
	made := group{models: g.Models, providers: g.Providers}
	var together, each []*Limit
	for _, l := range g.Limits {
		if l != nil && l.Each {
			single := *l
			single.Each = false
			each = append(each, &single)
			continue
		}
		together = append(together, l)
	}
	shared, err := rulesOf(together)
	if err != nil {
		return made, err
	}
	if len(shared) > 0 {
		made.shared = limits.Group(g.Name, shared)
	}
	made.each, err = rulesOf(each)
	return made, err
}

// checkGroups refuses groups that nobody has defined: a misspelled one would
// be a restriction that does not hold.
func (who *Callers) checkGroups(names []string) error {
	for i, name := range names {
		if _, known := who.groups[name]; !known {
			return fmt.Errorf("group %q: there is no such group; 'group %s { … }' beside the clients makes one", name, name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("group %q: given twice", name)
		}
	}
	return nil
}

// join gives a client what follows from its own limits, from its groups, and
// from what applies to everybody. Of the limits of each client the first of a
// kind holds: its own, those of its groups in their order, those of everybody.
func (who *Callers) join(client *auth.Client, own []limits.Rule) {
	rules := own
	var models, providers []string
	var shared []*limits.Subject
	for _, name := range client.Groups {
		g := who.groups[name]
		rules = withDefaults(rules, g.each)
		models, providers = append(models, g.models...), append(providers, g.providers...)
		if g.shared != nil {
			shared = append(shared, g.shared)
		}
	}
	if len(client.Models) == 0 {
		client.Models = models
	}
	if len(client.Providers) == 0 {
		client.Providers = providers
	}
	rules = withDefaults(rules, who.rules)
	rules = append(slices.Clip(rules), who.tallies...)
	if len(rules) > 0 {
		client.Limits = append(client.Limits, limits.Client(client.ID, rules))
	}
	client.Limits = append(client.Limits, shared...)
}

// WarnOfProviders tells of patterns of clients and groups that match no provider
// of the block, while a Caddyfile is parsed. Whom they alone leave may use none.
func (who *Callers) WarnOfProviders(provided []string) {
	warn := func(line syntax.Line, whose string, patterns []string) {
		for _, pattern := range patterns {
			if !slices.ContainsFunc(provided, func(name string) bool { return keypool.Matches(pattern, name) }) {
				line.Warn("%s: providers %s: there is no such provider in the block, which has %s", whose, pattern, syntax.And(provided))
			}
		}
	}
	for _, c := range who.Clients {
		warn(c.providersLine, "client "+c.ID, c.Providers)
	}
	for _, g := range who.Groups {
		warn(g.providersLine, "group "+g.Name, g.Providers)
	}
}

func (who *Callers) parseGroup(d *caddyfile.Dispenser) error {
	g := &Group{line: syntax.At(d)}
	if !d.AllArgs(&g.Name) {
		return d.Err("group: wants a name, such as 'group staff'")
	}
	if slices.ContainsFunc(who.Groups, func(other *Group) bool { return other.Name == g.Name }) {
		return d.Errf("group %s: already specified", g.Name)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		args := d.RemainingArgs()
		switch {
		case option != "models" && option != "providers" && option != "limit":
			return syntax.Unknown(d, "group "+g.Name, option, "models", "providers", "limit")
		case len(args) == 0:
			return d.Errf("group %s: %s: wants an argument", g.Name, option)
		case option == "models":
			g.Models = append(g.Models, args...)
			continue
		case option == "providers":
			g.Providers, g.providersLine = append(g.Providers, args...), syntax.At(d)
			continue
		}
		limit, err := parseGroupLimit(d, option, args)
		if err != nil {
			return err
		}
		g.Limits = append(g.Limits, limit)
		if _, err := g.ready(); err != nil {
			return d.Errf("group %s: %v", g.Name, err)
		}
	}
	who.Groups = append(who.Groups, g)
	return nil
}
