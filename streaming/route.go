// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"strings"

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
}

// modelFor returns the model to ask for when the client asked for asked.
func (t target) modelFor(asked string) string {
	if t.model != "" {
		return t.model
	}
	return asked
}

// routes finds the targets of a request.
type routes struct {
	lines []routeLine
	// open holds, for each family that no line sends to, its only provider.
	open map[*wire.Family][]target
	// first holds each family's first provider, which serves what names no
	// model, such as a list of models.
	first map[*wire.Family][]target
}

type routeLine struct {
	match   string
	targets map[*wire.Family][]target
}

// newRoutes resolves the names in lines and refuses what could never serve a
// call.
func newRoutes(providers []*Provider, lines []*ModelRoute) (routes, error) {
	r := routes{open: map[*wire.Family][]target{}, first: map[*wire.Family][]target{}}
	byName := make(map[string]*Provider, len(providers))
	for _, p := range providers {
		if byName[p.Name] != nil {
			return r, fmt.Errorf("provider %q: the name is used twice", p.Name)
		}
		byName[p.Name] = p
		if r.first[p.family] == nil {
			r.first[p.family] = []target{{provider: p}}
		}
	}

	routed := map[*wire.Family]bool{}
	for _, line := range lines {
		ready, err := newRouteLine(byName, line)
		if err != nil {
			return r, fmt.Errorf("model %q: %w", line.Match, err)
		}
		r.lines = append(r.lines, ready)
		for family := range ready.targets {
			routed[family] = true
		}
	}

	for _, p := range providers {
		if routed[p.family] {
			continue
		}
		if other := r.open[p.family]; other != nil {
			return r, fmt.Errorf("providers %q and %q both speak %s: say with 'model <pattern> <provider>' which models go where",
				other[0].provider.Name, p.Name, p.family.Name)
		}
		r.open[p.family] = []target{{provider: p}}
	}
	return r, nil
}

func newRouteLine(byName map[string]*Provider, line *ModelRoute) (routeLine, error) {
	ready := routeLine{match: line.Match, targets: map[*wire.Family][]target{}}
	if line.Match == "" {
		return ready, errors.New("a model pattern is needed; '*' stands for any model")
	}
	if len(line.Targets) == 0 {
		return ready, errors.New("routed nowhere: name at least one provider")
	}
	for _, t := range line.Targets {
		p := byName[t.Provider]
		if p == nil {
			return ready, fmt.Errorf("unknown provider %q", t.Provider)
		}
		ready.targets[p.family] = append(ready.targets[p.family], target{provider: p, model: t.Model})
	}
	return ready, nil
}

// match returns the targets for req, best first; none if no line knows its
// model.
func (r routes) match(req *wire.Request) []target {
	if req.Model == "" {
		return r.first[req.Family]
	}
	for _, line := range r.lines {
		if targets := line.targets[req.Family]; targets != nil && MatchModel(line.match, req.Model) {
			return targets
		}
	}
	return r.open[req.Family]
}

// MatchModel reports whether a model's name fits pattern, in which an asterisk stands for
// any text.
func MatchModel(pattern, name string) bool {
	prefix, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, prefix) {
		return false
	}
	name = name[len(prefix):]
	for {
		middle, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(name, rest)
		}
		at := strings.Index(name, middle)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(middle):], more
	}
}
