// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// Notice is a change that operators should hear of. Of what comes and goes
// within a minute, such as most rate limits, there is none.
type Notice struct {
	Kind NoticeKind
	// KeyID is the key that it is about; "" where it is the upstream.
	KeyID string
	// Model is the only model that is concerned; "" if all are.
	Model string
	// Class is why; ClassOK where something has recovered.
	Class Class
	// Until is when it will be tried again at the earliest; the zero time where
	// something has recovered, and [Never] for a key that an operator has taken
	// out.
	Until time.Time
}

// NoticeKind says what has changed.
type NoticeKind uint8

// The kinds of notices. The zero value is none.
const (
	// KeyCooled is a key that rests for long.
	KeyCooled NoticeKind = iota + 1
	// KeyDisabled is a key that the provider rejects or an operator has taken
	// out.
	KeyDisabled
	// KeyRecovered is a key that works again after one of these.
	KeyRecovered
	// UpstreamDown is an upstream, or one of its models, that was taken out.
	UpstreamDown
	// UpstreamUp is one that is back.
	UpstreamUp
)

// noticeableRest is from which length on operators hear of a rest whatever its
// class.
const noticeableRest = time.Minute

// noKey is the index of no member.
const noKey = -1

// notify passes a notice on, if it is one. member is the key that it is about.
func (p *Pool) notify(member int, n Notice) {
	if n.Kind == 0 || p.opts.Notify == nil {
		return
	}
	if member != noKey {
		n.KeyID = p.members[member].key.ID
	}
	p.opts.Notify(n)
}

// announce returns what operators should hear of as r comes in the place of
// old, and remembers that they did. r must not be in use yet. The two differ
// in the rest of the key as a whole and in that for model at most.
func (r *rests) announce(old *rests, model string, now time.Time) Notice {
	if r != nil {
		if n := r.key.announce("", now); n.Kind != 0 {
			return n
		}
		if i := r.find(model); i >= 0 {
			if n := r.models[i].announce(r.models[i].model, now); n.Kind != 0 {
				return n
			}
		}
	}
	switch was, is := old.announced(model), r.announced(model); {
	case was[0] != ClassOK && is[0] == ClassOK:
		return Notice{Kind: KeyRecovered}
	case was[1] != ClassOK && is[1] == ClassOK:
		return Notice{Kind: KeyRecovered, Model: model}
	}
	return Notice{}
}

// announced returns what operators were told of the key as a whole, and for
// model.
func (r *rests) announced(model string) (classes [2]Class) {
	if r == nil {
		return classes
	}
	classes[0] = r.key.announced
	if i := r.find(model); i >= 0 {
		classes[1] = r.models[i].announced
	}
	return classes
}

// announce returns what operators should hear of a cool-down that they have
// not yet been told of.
func (c *coolDown) announce(model string, now time.Time) Notice {
	if c.strikes == 0 || c.announced == c.class || !isAlike(c.class) && c.until.Sub(now) < noticeableRest {
		return Notice{}
	}
	c.announced = c.class
	n := Notice{Kind: KeyCooled, Model: model, Class: c.class, Until: c.until}
	if c.class == ClassCredential || c.class == ClassStale {
		n.Kind = KeyDisabled
	}
	return n
}

// announceDownLocked returns what operators should hear of after a failure:
// that the circuit was taken out, once until it is back.
func (c *circuit) announceDownLocked(now time.Time) Notice {
	open := c.stateLocked() == gobreaker.StateOpen
	resting := now.Before(c.rest.until) && c.rest.class != ClassOverloaded
	if c.down || !open && !resting {
		return Notice{}
	}
	c.down = true
	n := Notice{Kind: UpstreamDown, Model: c.model, Class: c.class, Until: c.rest.until}
	if open {
		n.Until = c.opens
	}
	return n
}

// announceUpLocked returns what operators should hear of after a success.
func (c *circuit) announceUpLocked(now time.Time) Notice {
	if !c.down || c.stateLocked() != gobreaker.StateClosed || now.Before(c.rest.until) || c.correlated() {
		return Notice{}
	}
	c.down = false
	return Notice{Kind: UpstreamUp, Model: c.model}
}
