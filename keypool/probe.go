// SPDX-License-Identifier: Apache-2.0

package keypool

import "time"

// Probe is the use of a key by a call that costs nothing, made to find out
// whether the provider accepts the key. It is no call of a client's: it takes
// none of the key's slots and counts nowhere. It must be reported.
type Probe struct {
	pool  *Pool
	index int
	began time.Time
	// model is the model that the key rests for; "" is for all of them.
	model string
}

// KeyID returns the id of the key.
func (p *Probe) KeyID() string { return p.pool.members[p.index].key.ID }

// Secret returns the key's credential.
func (p *Probe) Secret() Secret { return p.pool.members[p.index].key.Secret }

// Model returns the model that it is about; "" is any.
func (p *Probe) Model() string { return p.model }

// probing is what is known of a key's probes.
type probing struct {
	// at is when the latest began.
	at time.Time
	// refused says that the latest has refused the key, but was not believed.
	refused bool
	// vouched is when a probe lifted a rest, as long as no call has shown
	// whether it was right; misled says that one was wrong. Then none is
	// believed before a call has succeeded: some providers list their models
	// for whoever asks.
	vouched time.Time
	misled  bool
}

// learn notes what a call shows of the probes before it.
func (g *probing) learn(class Class, began time.Time) {
	switch {
	case class == ClassOK:
		g.vouched, g.misled, g.refused = time.Time{}, false, false
	case isAlike(class) && !g.vouched.IsZero() && !began.Before(g.vouched):
		g.vouched, g.misled = time.Time{}, true
	}
}

// NextProbe takes a key that should be probed: one that was never used, or one
// that was refused as such and of which nobody has said for how long. No key is
// probed more often than once in every; the one that was not for longest comes
// first. It reports false if there is none.
func (p *Pool) NextProbe(every time.Duration) (Probe, bool) {
	now := p.opts.Now()
	believed := p.upstream.vouches.Load()
	next := p.oldestProbe(now, every, func(s *State) (time.Time, bool) { return s.needsProbe(now, believed) })
	if !believed && p.upstream.disputed.Swap(false) {
		// A key that works tells what an accepted probe looks like.
		if works := p.oldestProbe(now, every, (*State).works); works >= 0 {
			next = works
		}
	}
	if next < 0 {
		return Probe{}, false
	}
	return Probe{pool: p, index: next, began: now, model: p.members[next].state.beginProbe(now)}, true
}

// oldestProbe returns the key of which the latest probe is the longest ago, of
// those that are wanted and were not probed within every; -1 if there is none.
func (p *Pool) oldestProbe(now time.Time, every time.Duration, wanted func(*State) (at time.Time, ok bool)) int {
	best, oldest := -1, now.Add(-every)
	for i := range p.members {
		m := &p.members[i]
		if !m.key.Expires.IsZero() && !now.Before(m.key.Expires) {
			continue
		}
		at, ok := wanted(m.state)
		if ok && !at.After(oldest) && (best < 0 || at.Before(oldest)) {
			best, oldest = i, at
		}
	}
	return best
}

// works reports whether the latest that is known of the key is that it works,
// and when its latest probe began.
func (s *State) works() (at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probing.at, s.rests.Load() == nil && s.health.consecutiveFailures == 0 && s.health.successes > 0
}

// needsProbe reports whether a probe could tell something of the key, and when
// the latest one began. believed says that the provider's refusals are.
func (s *State) needsProbe(now time.Time, believed bool) (at time.Time, needed bool) {
	if s.rests.Load() == nil && s.known.Load() {
		return at, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rests.Load()
	if !s.known.Load() && (believed || !s.probing.refused) {
		return s.probing.at, r == nil || !r.disabled
	}
	_, doubted := r.doubted(now)
	return s.probing.at, doubted && !s.probing.misled
}

// beginProbe notes that a probe begins, and returns the model that it is about.
func (s *State) beginProbe(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing.at = now
	model, _ := s.rests.Load().doubted(now)
	return model
}

// doubted returns what of r a probe could lift: that of the key as a whole, for
// which the model is "", or that for a model.
func (r *rests) doubted(now time.Time) (model string, ok bool) {
	if r == nil || r.disabled {
		return "", false
	}
	if r.key.strikes > 0 && isAlike(r.key.class) && !now.Before(r.key.stated) {
		return "", true
	}
	for i := range r.models {
		if m := &r.models[i]; isAlike(m.class) && !now.Before(m.stated) && now.Before(m.until) {
			return m.model, true
		}
	}
	return "", false
}

// lifted returns r without what a probe that began then was about.
func (r *rests) lifted(model string, began time.Time) *rests {
	if r == nil {
		return nil
	}
	next := r.clone()
	i := next.find(model)
	switch {
	case model == "" && next.key.set.Before(began):
		next.key, next.proof = coolDown{}, time.Time{}
	case model != "" && i >= 0 && next.models[i].set.Before(began):
		next.drop(i)
	default:
		return r // it has failed again since
	}
	return next.orNil()
}

// Report says how the provider has answered a probe.
func (p *Probe) Report(v Verdict) {
	state := p.pool.members[p.index].state
	switch v.Class {
	case ClassOK:
		p.pool.upstream.vouches.Store(true)
		p.pool.notify(p.index, state.vouch(p))
	case ClassCredential, ClassStale, ClassQuota:
		if p.model == "" {
			p.refuse(v)
		}
	case ClassNotSent, ClassReset, ClassUpstream, ClassOverloaded, ClassSlow, ClassBroken, ClassRateLimited, ClassCanceled:
	default:
		state.known.Store(true)
	}
}

// refuse draws the consequences of a refusal, if it is believed. Where no key
// was ever accepted, the fault may be the probe's.
func (p *Probe) refuse(v Verdict) {
	believed := p.pool.upstream.vouches.Load()
	p.pool.upstream.disputed.Store(!believed)
	p.pool.notify(p.index, p.pool.members[p.index].state.refuse(p, v, believed))
	if believed {
		l := Lease{pool: p.pool, index: p.index, began: p.began}
		p.pool.judgeAlike(&l, v.Class, p.pool.opts.Now())
	}
}

// vouch lifts what a probe was about.
func (s *State) vouch(p *Probe) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.Store(true)
	now := p.pool.opts.Now()
	r := s.rests.Load()
	if model, doubted := r.doubted(now); !doubted || model != p.model {
		return Notice{}
	}
	next := r.lifted(p.model, p.began)
	if next == r {
		return Notice{}
	}
	s.probing.vouched = now
	return s.replace(r, next, p.model, now)
}

// refuse puts the key to rest, or lets it rest on, if the probe is believed.
func (s *State) refuse(p *Probe, v Verdict, believed bool) Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing.refused = true
	if !believed {
		return Notice{}
	}
	s.known.Store(true)
	opts := &p.pool.opts
	now := opts.Now()
	l := Lease{began: p.began}
	if r := s.rests.Load(); r != nil && r.key.class == v.Class && now.Before(r.key.until) {
		// That was known, and is no further failure: the rest begins anew, but
		// does not grow.
		l.began = time.Time{}
	}
	return s.follow(&l, v, now, opts.MaxWait)
}
