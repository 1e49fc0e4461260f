// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"slices"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// scope is the keys, upstreams and pins of the providers that share what is
// known of them, and what was told of each. What others tell of anything else
// is none of its business.
type scope struct {
	sources []*Source
	// pools are those of the sources when they were last looked at.
	pools     []*keypool.Pool
	keys      map[name]*key
	upstreams map[name]*upstream
	pins      map[string]*keypool.Pins
}

// name is by which instances know a key of a provider, or a place.
type name struct{ provider, which string }

type key struct {
	keypool.Member
	told    keypool.Told
	maxWait time.Duration
}

type upstream struct {
	*keypool.Upstream
	told    keypool.Told
	maxWait time.Duration
}

// update takes note of what there is now, and keeps what was told.
func (s *scope) update(sources []*Source) {
	pools := make([]*keypool.Pool, len(sources))
	for i, source := range sources {
		pools[i] = source.Pool()
	}
	if slices.Equal(pools, s.pools) && slices.Equal(sources, s.sources) {
		return
	}
	old := *s
	*s = scope{sources: sources, pools: pools, keys: map[name]*key{}, upstreams: map[name]*upstream{}, pins: map[string]*keypool.Pins{}}
	for i, pool := range pools {
		s.add(sources[i], pool, &old)
	}
}

// add adds a provider with what was told of it.
func (s *scope) add(source *Source, pool *keypool.Pool, old *scope) {
	if source.Place == "" && source.Keyless {
		return
	}
	if s.pins[source.Provider] == nil {
		s.pins[source.Provider] = source.Pins
	}
	place := name{source.Provider, source.Place}
	if source.Place != "" && s.upstreams[place] == nil {
		s.upstreams[place] = old.upstream(place, pool)
	}
	for _, m := range pool.Members() {
		which := name{source.Provider, m.Fingerprint}
		if source.Keyless {
			which.which += "@" + source.Place
		}
		if s.keys[which] == nil {
			s.keys[which] = old.key(which, m, pool.MaxWait())
		}
	}
}

// upstream returns an upstream with what was told of it.
func (s *scope) upstream(place name, pool *keypool.Pool) *upstream {
	u := &upstream{Upstream: pool.Upstream(), maxWait: pool.MaxWait()}
	if known := s.upstreams[place]; known != nil && known.Upstream == u.Upstream {
		u.told = known.told
	}
	u.Share()
	return u
}

// key returns a key with what was told of it. What was taken of a new one
// before is not told.
func (s *scope) key(which name, m keypool.Member, maxWait time.Duration) *key {
	k := &key{Member: m, maxWait: maxWait}
	if known := s.keys[which]; known != nil && known.State == m.State {
		k.told = known.told
	} else if before, some := k.Spent(&k.told); some {
		k.told.Spend(before)
	}
	return k
}

// news is what is to be told now.
type news struct {
	now   time.Time
	facts []fact
	spent []use
	pins  []pin
	// told note that it was, by stream.
	told [len(streams)][]func()
}

// gather gathers what is to be told, as far as there is room.
func (s *scope) gather(n *news) {
	for which, k := range s.keys {
		for _, f := range k.State.News(&k.told, n.now) {
			n.add(which.provider, which.which, "", f, &k.told)
		}
		taken, some := k.Spent(&k.told)
		if !some || len(n.spent) >= room(spent) {
			continue
		}
		n.spent = append(n.spent, use{
			which.provider, which.which, taken.Requests, taken.Tokens,
			apart(n.now, taken.RequestsFull), apart(n.now, taken.TokensFull),
		})
		n.told[spent] = append(n.told[spent], func() { k.told.Spend(taken) })
	}
	for which, u := range s.upstreams {
		for _, f := range u.News(&u.told, n.now) {
			n.add(which.provider, "", which.which, f, &u.told)
		}
	}
	for provider, of := range s.pins {
		made := of.News(room(pins) - len(n.pins))
		for _, p := range made {
			n.pins = append(n.pins, pin{provider, p.Object, p.Key})
		}
		if len(made) > 0 {
			n.told[pins] = append(n.told[pins], func() { of.Told(made) })
		}
	}
}

func (n *news) add(provider, key, place string, f keypool.Fact, told *keypool.Told) {
	if len(n.facts) >= room(facts) {
		return
	}
	text := write(f, n.now)
	text.Provider, text.Key, text.Place = provider, key, place
	n.facts = append(n.facts, text)
	n.told[facts] = append(n.told[facts], func() { told.Done(f, n.now) })
}

// again has what still holds told once more, unless it was within that time.
func (s *scope) again(now time.Time, within time.Duration) {
	for _, k := range s.keys {
		k.told.Again(now, within)
	}
	for _, u := range s.upstreams {
		u.told.Again(now, within)
	}
	if within == 0 {
		for _, of := range s.pins {
			of.Again()
		}
	}
}

// hear takes in a fact. Of one's own only what operators have done counts: of
// that the latest holds, and the order in the stream says which that is.
func (s *scope) hear(text *fact, at, now time.Time, own bool, heard func(provider, key string, f keypool.Fact)) {
	f, ok := text.read(at)
	if !ok || own && f.Kind != keypool.FactDisabled && f.Kind != keypool.FactEnabled {
		return
	}
	changed := false
	if u := s.upstreams[name{text.Provider, text.Place}]; u != nil && text.Key == "" {
		changed = u.Hear(&u.told, f, now, u.maxWait)
	} else if k := s.keys[name{text.Provider, text.Key}]; k != nil && text.Place == "" {
		changed = k.State.Hear(&k.told, f, now, k.maxWait)
	}
	if changed && heard != nil {
		heard(text.Provider, text.Key, f)
	}
}

// hearUse takes in what was taken of a key's limits.
func (s *scope) hearUse(u *use, at, now time.Time, newcomer bool) {
	if k := s.keys[name{u.Provider, u.Key}]; k != nil {
		k.HearSpent(keypool.Spent{
			Requests: u.Requests, Tokens: u.Tokens,
			RequestsFull: at.Add(span(u.RequestsFull)), TokensFull: at.Add(span(u.TokensFull)),
		}, at, now, newcomer)
	}
}

// hearPin takes in which key made an object.
func (s *scope) hearPin(p *pin) {
	if of := s.pins[p.Provider]; of != nil {
		of.Hear(p.Object, p.Key)
	}
}
