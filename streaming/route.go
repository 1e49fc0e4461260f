// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// target is a Target made ready.
type target struct {
	provider *Provider
	model    string
	// named says that the config names the model, and not only a pattern that
	// it fits.
	named bool
	// share is that of a split by which the target was chosen for a call; nil
	// otherwise.
	share *share
}

// String spells the target as in a Caddyfile.
func (t target) String() string { return Target{t.provider.Name, t.model}.String() }

// modelFor returns the model to ask for when the client asked for asked.
func (t target) modelFor(asked string) string {
	if t.model != "" {
		return t.model
	}
	return asked
}

// chain is what a call is asked of: the targets in order, and those that are
// asked when they cannot take the prompt.
type chain struct {
	targets, contextLength, contentFilter []target
	// split shares the calls among the targets; nil if the first serves all.
	split *split
}

// order returns the targets for one more call.
func (c *chain) order() []target {
	if c.split == nil {
		return c.targets
	}
	return c.split.order()
}

// after returns the targets to ask when the client's request was refused.
func (c *chain) after(v keypool.Verdict) []target {
	switch {
	case v.Stop:
		return nil
	case v.Class == keypool.ClassContext:
		return c.contextLength
	case v.Class == keypool.ClassPolicy:
		return c.contentFilter
	default:
		return nil
	}
}

// routes finds the targets of a request.
type routes struct {
	lines []routeLine
	// open holds, for each family that no line sends to, its only provider.
	open map[*wire.Family]*chain
	// first holds each family's first provider, which serves what names no
	// model, such as a list of models.
	first map[*wire.Family]*chain
	// all holds all providers of each family.
	all    map[*wire.Family][]*Provider
	byName map[string]*Provider
}

type routeLine struct {
	match  string
	chains map[*wire.Family]*chain
	// config is what the line was made of.
	config *ModelRoute
}

// newRoutes resolves the names in the lines and refuses what could never serve
// a call. Of a Caddyfile the errors say where.
func (t *Transport) newRoutes() (routes, error) {
	r := routes{
		open: map[*wire.Family]*chain{}, first: map[*wire.Family]*chain{},
		all: map[*wire.Family][]*Provider{}, byName: map[string]*Provider{},
	}
	for _, p := range t.Providers {
		if r.byName[p.Name] != nil {
			return r, fmt.Errorf("provider %q: the name is used twice", p.Name)
		}
		r.byName[p.Name] = p
		r.all[p.family] = append(r.all[p.family], p)
		if r.first[p.family] == nil {
			r.first[p.family] = &chain{targets: []target{{provider: p}}}
		}
	}

	routed := map[*wire.Family]bool{}
	for i, line := range t.Models {
		if line == nil {
			return r, fmt.Errorf("model %d: null", i+1)
		}
		ready, err := newRouteLine(r.byName, line)
		if err == nil {
			err = r.reachable(&ready)
		}
		if err != nil {
			return r, line.line.Wrap(fmt.Errorf("model %q: %w", line.Match, err))
		}
		r.lines = append(r.lines, ready)
		for family := range ready.chains {
			routed[family] = true
		}
	}

	for _, p := range t.Providers {
		if routed[p.family] {
			continue
		}
		if other := r.open[p.family]; other != nil {
			return r, p.line.Wrap(fmt.Errorf("providers %q and %q both speak %s: say with 'model <pattern> <provider>' which models go where",
				other.targets[0].provider.Name, p.Name, p.family.Name))
		}
		r.open[p.family] = &chain{targets: []target{{provider: p}}}
	}
	return r, nil
}

// reachable refuses a line whose calls an earlier one takes.
func (r *routes) reachable(line *routeLine) error {
	for _, before := range r.lines {
		// A pattern that matches another's text matches all that it stands for.
		if !keypool.Matches(before.match, line.match) {
			continue
		}
		for family := range line.chains {
			if before.chains[family] != nil {
				return fmt.Errorf("its targets of the %s family are never asked: the line for %s above it takes the same models; put the narrower pattern first, or all targets into one line",
					family.Name, before.name())
			}
		}
	}
	return nil
}

// name tells which line it is.
func (l *routeLine) name() string {
	name := strconv.Quote(l.match)
	if at := l.config.line; at.Known() {
		name += " at " + at.String()
	}
	return name
}

func newRouteLine(byName map[string]*Provider, line *ModelRoute) (routeLine, error) {
	ready := routeLine{match: line.Match, chains: map[*wire.Family]*chain{}, config: line}
	if err := line.validate(); err != nil {
		return ready, err
	}
	for _, list := range []struct {
		targets []Target
		of      func(*chain) *[]target
	}{
		{line.Targets, func(c *chain) *[]target { return &c.targets }},
		{line.ContextLength, func(c *chain) *[]target { return &c.contextLength }},
		{line.ContentFilter, func(c *chain) *[]target { return &c.contentFilter }},
	} {
		for _, to := range list.targets {
			p := byName[to.Provider]
			if p == nil {
				return ready, fmt.Errorf("unknown provider %q; known are %s", to.Provider, strings.Join(slices.Sorted(maps.Keys(byName)), ", "))
			}
			if ready.chains[p.family] == nil {
				ready.chains[p.family] = new(chain)
			}
			targets := list.of(ready.chains[p.family])
			named := to.Model != "" || !strings.Contains(line.Match, "*")
			*targets = append(*targets, target{provider: p, model: to.Model, named: named})
		}
	}
	for family, chain := range ready.chains {
		if len(chain.targets) == 0 {
			return ready, fmt.Errorf("context_length and content_filter name a provider of the %s family, but no target does", family.Name)
		}
	}
	return ready, checkSplit(byName, line)
}

// checkSplit refuses to share calls among targets that do not take the same.
func checkSplit(byName map[string]*Provider, line *ModelRoute) error {
	if len(line.Split) == 0 {
		return nil
	}
	family := byName[line.Targets[0].Provider].family
	for _, to := range line.Targets[:len(line.Split)] {
		if other := byName[to.Provider].family; other != family {
			return fmt.Errorf("split: %s speaks %s and %s speaks %s; only targets of one family can share calls",
				line.Targets[0], family.Name, to, other.Name)
		}
	}
	return nil
}

// openSplits splits the calls of the lines that say so.
func (t *Transport) openSplits(r routes) error {
	for _, line := range r.lines {
		if len(line.config.Split) == 0 {
			continue
		}
		var err error
		chain := line.chains[r.byName[line.config.Targets[0].Provider].family]
		if chain.split, err = t.newSplit(line.config, chain.targets); err != nil {
			return err
		}
	}
	return nil
}

// MayBegin tells whether a text before a slash may be the name of a provider,
// or the beginning of a model's name. Such names have those who sell the models
// of others: all services that speak OpenAI's format but OpenAI itself.
func (t *Transport) MayBegin(prefix string) bool {
	return slices.ContainsFunc(t.Providers, func(p *Provider) bool {
		return p.Name == prefix || p.family.Name == "openai" && p.Name != "openai"
	})
}

// providers returns those that may have stored what req refers to: of one that
// names no model, all of its family, else those that serve the model.
func (r routes) providers(req *wire.Request, c *chain) []*Provider {
	if req.Model == "" {
		return r.all[req.Family]
	}
	var serving []*Provider
	for _, t := range c.targets {
		serving = append(serving, t.provider)
	}
	return serving
}

// match returns the targets for req; nil if no line knows its model.
func (r routes) match(req *wire.Request) *chain {
	if req.Model == "" {
		return r.first[req.Family]
	}
	for _, line := range r.lines {
		if chain := line.chains[req.Family]; chain != nil && keypool.Matches(line.match, req.Model) {
			return chain
		}
	}
	if only := r.open[req.Family]; only != nil || !req.AsksForModel() || r.named(req.Family) != nil {
		return only
	}
	// Who serves the list of models knows of those that are in it.
	return r.first[req.Family]
}
