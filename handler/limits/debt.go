// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"time"
)

// debt is what Redis was not told of one count.
type debt struct {
	subject *Subject
	rule    *Rule
	// add is what was used, since the time that is given.
	add   int64
	since time.Time
	// drops are the names of what is not held any more.
	drops []string
}

// outcome says what became of what a hold asked for without Redis.
type outcome struct {
	// refused says that nothing was taken, and undone that nothing was given
	// back or added either.
	refused, undone bool
	// mayKnow says that Redis was asked for it and did not answer.
	mayKnow bool
}

// owe notes what Redis is to be told of what a hold asked for.
func (s *Shared) owe(now time.Time, h *Hold, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for p := range h.asked() {
		if p.drop > 0 && !o.undone {
			s.release(now, p)
		}
		if p.add > 0 && !o.undone {
			s.debt(now, p).add += p.add
		}
		if p.use > 0 && !o.refused {
			s.debt(now, p).add += p.use
		}
		if p.hold > 0 {
			s.live[p.name] = &liveHold{p.subject, p.rule, p.hold, o.mayKnow}
			if o.refused {
				s.release(now, p)
			}
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// release notes that what is held under a part's name is held no more. Redis
// need not be told of what it cannot know.
func (s *Shared) release(now time.Time, p *part) {
	held := s.live[p.name]
	delete(s.live, p.name)
	if held == nil || !held.told {
		return
	}
	if d := s.debt(now, p); len(d.drops) < maxDrops {
		d.drops = append(d.drops, p.name)
	}
}

// debt returns the debt of a part's count.
func (s *Shared) debt(now time.Time, p *part) *debt {
	path := p.path()
	d := s.debts[path]
	if d == nil {
		d = &debt{subject: p.subject, rule: p.rule, since: now}
		if len(s.debts) < maxDebts {
			s.debts[path] = d
		}
	}
	return d
}

// parts returns what is to be done to pay a debt.
func (d *debt) parts(now time.Time) []part {
	var parts []part
	for _, name := range d.drops {
		parts = append(parts, part{subject: d.subject, rule: d.rule, asked: true, drop: 1, name: name})
	}
	if d.add > 0 && d.rule.Period.spans(d.since, now) {
		parts = append(parts, part{subject: d.subject, rule: d.rule, asked: true, add: d.add})
	}
	return parts
}

// keep is the work of the goroutine that pays debts and renews leases.
func (s *Shared) keep() {
	defer close(s.done)
	repay, renew := time.NewTicker(repayEvery), time.NewTicker(renewEvery)
	defer repay.Stop()
	defer renew.Stop()
	for paid := true; ; {
		wake := s.wake
		if !paid {
			wake = nil // it is tried again when the time has come
		}
		select {
		case <-s.stop:
			s.pay(time.Now())
			return
		case <-wake:
			paid = s.pay(time.Now())
		case <-repay.C:
			s.look()
			paid = s.pay(time.Now())
		case <-renew.C:
			s.renew(time.Now())
		}
	}
}

// pay tells Redis what it has missed, and reports whether it is told all.
func (s *Shared) pay(now time.Time) bool {
	for {
		owed := s.borrow()
		if len(owed) == 0 {
			return true
		}
		h := Hold{shadow: true}
		for _, d := range owed {
			h.parts = append(h.parts, d.parts(now)...)
		}
		if !h.asks() {
			continue
		}
		if _, err := s.run(context.Background(), now, &h); err != nil {
			s.failed(err)
			s.giveBack(owed)
			return false
		}
	}
}

// look looks whether a Redis that has hung is back.
func (s *Shared) look() {
	if !s.hung.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.store.Timeout())
	defer cancel()
	if s.store.Client().Ping(ctx).Err() == nil {
		s.hung.Store(false)
	}
}

// borrow takes some of the debts.
func (s *Shared) borrow() map[string]*debt {
	s.mu.Lock()
	defer s.mu.Unlock()
	owed := map[string]*debt{}
	for path, d := range s.debts {
		owed[path] = d
		delete(s.debts, path)
		if len(owed) == debtsAtOnce {
			break
		}
	}
	return owed
}

// giveBack returns debts that could not be paid.
func (s *Shared) giveBack(owed map[string]*debt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, d := range owed {
		if more := s.debts[path]; more != nil {
			d.add += more.add
			d.drops = append(d.drops, more.drops...)
			d.drops = d.drops[:min(len(d.drops), maxDrops)]
		}
		s.debts[path] = d
	}
}

// renew tells Redis of everything that is held.
func (s *Shared) renew(now time.Time) {
	s.mu.Lock()
	h := Hold{shadow: true, parts: make([]part, 0, len(s.live))}
	for name, held := range s.live {
		held.told = true
		h.parts = append(h.parts, part{subject: held.subject, rule: held.rule, asked: true, hold: held.amount, name: name})
	}
	s.mu.Unlock()
	for rest := h.parts; len(rest) > 0; {
		n := min(len(rest), debtsAtOnce)
		h.parts, rest = rest[:n], rest[n:]
		if _, err := s.run(context.Background(), now, &h); err != nil {
			s.failed(err)
			return
		}
	}
}

// Close pays what is owed, if Redis is there, and lets go of what is held. Calls
// under way are only counted in the book from then on.
func (s *Shared) Close() {
	s.mu.Lock()
	s.closed = true
	now := time.Now()
	for name, held := range s.live {
		s.release(now, &part{subject: held.subject, rule: held.rule, name: name})
	}
	s.mu.Unlock()
	close(s.stop)
	<-s.done
}
