// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed count.lua
var countSource string

// countScript is all that is ever done to counts in Redis, in one step: taking,
// settling, renewing and reading.
var countScript = redis.NewScript(countSource)

// perPart is how many arguments the script takes for each part.
const perPart = 11

// run does in Redis what the hold asks for, and notes where each part stood.
func (s *Shared) run(ctx context.Context, now time.Time, h *Hold) (granted bool, err error) {
	force := 0
	if h.shadow {
		force = 1
	}
	keys := make([]string, 0, 2*len(h.parts))
	args := append(make([]any, 0, 2+perPart*len(h.parts)), force, lease.Microseconds())
	for p := range h.asked() {
		name := p.path()
		keys = append(keys, s.store.Key(hashTag, "count", name), s.store.Key(hashTag, "holds", name))
		args = p.encode(args, now)
	}
	// The call may be gone before Redis has answered, but what it takes must
	// be known.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.store.Timeout())
	defer cancel()
	reply, err := s.script.Run(ctx, s.store.Client(), keys, args...).Int64Slice()
	if err != nil {
		return false, fmt.Errorf("counting in Redis: %w", err)
	}
	return decode(reply, h)
}

// hashTag keeps all counts in one slot of a cluster, so that those of several
// subjects can be taken in one step.
const hashTag = "{limits}"

// path names the count that a part is about. The subject's name comes last,
// since it may hold anything.
func (p *part) path() string {
	words := []string{p.rule.Kind.String(), "", url.QueryEscape(strings.Join(p.rule.Models, " ")), "client", p.subject.Name}
	if p.rule.Kind != Concurrent {
		words[1] = p.rule.Period.String()
	}
	if p.rule.Period.Calendar != 0 {
		words[1] += "@" + p.rule.Period.zone().String()
	}
	if p.subject.Group {
		words[3] = "group"
	}
	if p.rule.Tally {
		words[0] = "tally:" + words[0]
	}
	return strings.Join(words, ":")
}

// encode adds the script's arguments for a part.
func (p *part) encode(args []any, now time.Time) []any {
	var slot int64
	var begins [4]int64
	switch period := p.rule.Period; {
	case p.rule.Kind == Concurrent:
		slot = -1
	case p.rule.windowed():
		slot = period.slot() / int64(time.Microsecond)
	default:
		for i := range begins {
			begins[i] = period.begin(now, i-1).UnixMicro()
		}
	}
	var dropped, held string
	if p.drop > 0 {
		dropped = p.name
	}
	if p.hold > 0 {
		held = p.name
	}
	return append(args, p.rule.Amount, slot, begins[0], begins[1], begins[2], begins[3], dropped, p.add, p.hold, held, p.use)
}

// decode reads what the script returns.
func decode(reply []int64, h *Hold) (granted bool, err error) {
	errShort := errors.New("counting in Redis: the answer is too short")
	next := func(n int) []int64 {
		if n < 0 || n > len(reply) {
			return nil
		}
		words := reply[:n]
		reply = reply[n:]
		return words
	}
	head := next(2)
	if head == nil {
		return false, errShort
	}
	granted = head[0] == 1
	now := time.UnixMicro(head[1])
	for p := range h.asked() {
		state := next(5)
		if state == nil {
			return false, errShort
		}
		c := newCounter(p.rule)
		c.used, c.held, c.newest, c.last, c.next = state[0], state[1], state[2], state[3], time.UnixMicro(state[3])
		window := next(int(state[4]))
		if window == nil || c.ring == nil && len(window) > 0 {
			return false, errShort
		}
		for i, used := range window {
			*c.ring.at(c.newest - slots + int64(i)) = used
		}
		if p.ask(now, c); granted {
			p.grant(c)
		}
		p.note(now, c)
	}
	return granted, nil
}
