// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// ModelRoute sends the models that match a pattern to an ordered list of
// targets: the first serves the call, each next one is the fallback of those
// before it.
type ModelRoute struct {
	// Match is the model's name as clients ask for it. An asterisk stands for
	// any text, also none.
	Match string `json:"match"`

	// Targets are tried in order. A call goes only to those of its own API
	// family.
	Targets []Target `json:"targets"`

	// ContextLength are asked in place of the others when the prompt is too
	// long for the model: models with a larger window. Default: none, the
	// client gets the provider's error.
	ContextLength []Target `json:"context_length,omitempty"`

	// ContentFilter are asked in place of the others when a filter of the
	// provider refuses the prompt. Default: none, the client gets the
	// provider's error.
	ContentFilter []Target `json:"content_filter,omitempty"`
}

// Target is a provider together with the model to ask it for.
type Target struct {
	// Provider is the provider's name.
	Provider string `json:"provider"`

	// Model is what the provider calls the model.
	// Default: what the client asked for.
	Model string `json:"model,omitempty"`
}

// target is a Target made ready.
type target struct {
	provider *Provider
	model    string
	// named says that the config names the model, and not only a pattern that
	// it fits.
	named bool
}

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
	all map[*wire.Family][]*Provider
}

type routeLine struct {
	match  string
	chains map[*wire.Family]*chain
}

// newRoutes resolves the names in lines and refuses what could never serve a
// call.
func newRoutes(providers []*Provider, lines []*ModelRoute) (routes, error) {
	r := routes{open: map[*wire.Family]*chain{}, first: map[*wire.Family]*chain{}, all: map[*wire.Family][]*Provider{}}
	byName := make(map[string]*Provider, len(providers))
	for _, p := range providers {
		if byName[p.Name] != nil {
			return r, fmt.Errorf("provider %q: the name is used twice", p.Name)
		}
		byName[p.Name] = p
		r.all[p.family] = append(r.all[p.family], p)
		if r.first[p.family] == nil {
			r.first[p.family] = &chain{targets: []target{{provider: p}}}
		}
	}

	routed := map[*wire.Family]bool{}
	for _, line := range lines {
		ready, err := newRouteLine(byName, line)
		if err != nil {
			return r, fmt.Errorf("model %q: %w", line.Match, err)
		}
		r.lines = append(r.lines, ready)
		for family := range ready.chains {
			routed[family] = true
		}
	}

	for _, p := range providers {
		if routed[p.family] {
			continue
		}
		if other := r.open[p.family]; other != nil {
			return r, fmt.Errorf("providers %q and %q both speak %s: say with 'model <pattern> <provider>' which models go where",
				other.targets[0].provider.Name, p.Name, p.family.Name)
		}
		r.open[p.family] = &chain{targets: []target{{provider: p}}}
	}
	return r, nil
}

func newRouteLine(byName map[string]*Provider, line *ModelRoute) (routeLine, error) {
	ready := routeLine{match: line.Match, chains: map[*wire.Family]*chain{}}
	if line.Match == "" {
		return ready, errors.New("a model pattern is needed; '*' stands for any model")
	}
	if len(line.Targets) == 0 {
		return ready, errors.New("routed nowhere: name at least one provider")
	}
	for _, list := range []struct {
		targets []Target
		of      func(*chain) *[]target
	}{
		{line.Targets, func(c *chain) *[]target { return &c.targets }},
		{line.ContextLength, func(c *chain) *[]target { return &c.contextLength }},
		{line.ContentFilter, func(c *chain) *[]target { return &c.contentFilter }},
	} {
		for _, t := range list.targets {
			p := byName[t.Provider]
			if p == nil {
				return ready, fmt.Errorf("unknown provider %q", t.Provider)
			}
			if ready.chains[p.family] == nil {
				ready.chains[p.family] = new(chain)
			}
			targets := list.of(ready.chains[p.family])
			named := t.Model != "" || !strings.Contains(line.Match, "*")
			*targets = append(*targets, target{provider: p, model: t.Model, named: named})
		}
	}
	for family, chain := range ready.chains {
		if len(chain.targets) == 0 {
			return ready, fmt.Errorf("context_length and content_filter name a provider of the %s family, but no target does", family.Name)
		}
	}
	return ready, nil
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
	return r.open[req.Family]
}
