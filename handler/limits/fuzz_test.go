// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"testing"
	"time"
)

// FuzzBook drives a book by steps that the fuzzer chooses and compares it with
// a plain list of all that ever happened.
func FuzzBook(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 200, 100, 50})
	f.Add([]byte{0, 0, 0, 0, 255, 255, 0, 0, 1, 1, 1, 1, 254, 3, 3, 3})
	f.Fuzz(func(t *testing.T, steps []byte) {
		const length = 32 * time.Second
		rules := []Rule{window(Requests, 10, length), window(Tokens, 300, length), {Kind: Concurrent, Amount: 4}}
		o := oracle{t: t, book: NewBook(), rules: rules, length: length, now: start}
		for len(steps) >= 2 {
			o.step(steps[0], int64(steps[1]))
			steps = steps[2:]
		}
		o.end()
	})
}

// event is something that counted.
type event struct {
	at time.Time
	n  int64
}

type oracle struct {
	t      *testing.T
	book   *Book
	rules  []Rule
	length time.Duration
	now    time.Time

	requests, tokens []event
	open             []*Hold
	held             []int64
}

// within sums what happened in the last d.
func (o *oracle) within(events []event, d time.Duration) int64 {
	var sum int64
	for _, e := range events {
		if o.now.Sub(e.at) < d {
			sum += e.n
		}
	}
	return sum
}

func (o *oracle) step(what byte, n int64) {
	switch what % 4 {
	case 0:
		o.now = o.now.Add(time.Duration(n) * 37 * time.Millisecond)
	case 1, 2:
		o.call(n)
	case 3:
		if len(o.open) > 0 {
			o.settle(int(what/4)%len(o.open), n)
		}
	}
}

// call begins a call. What is let in must be within the limits, and what is
// refused must be beyond them, give or take one part of the window.
func (o *oracle) call(n int64) {
	before, wide := o.length, o.length+o.length/slots
	h, exceeded := try(o.book, o.now, false, o.rules...)
	if exceeded != nil {
		full := o.within(o.requests, wide) >= 10
		if !full && len(o.open) < 4 {
			o.t.Fatalf("refused by %s after %d requests, %d under way", exceeded.Rule.Kind, o.within(o.requests, wide), len(o.open))
		}
		return
	}
	if sum := o.within(o.requests, before) + 1; sum > 10 || len(o.open) >= 4 {
		o.t.Fatalf("let in request %d of 10 with %d under way", sum, len(o.open))
	}
	n = max(n, 1)
	var held int64
	for _, h := range o.held {
		held += h
	}
	exceeded = h.reserve(o.now, Amounts{Input: n / 2, Output: n - n/2})
	if exceeded == nil && o.within(o.tokens, before)+held+n > 300 {
		o.t.Fatalf("reserved %d tokens beside %d used and %d held", n, o.within(o.tokens, before), held)
	}
	if exceeded != nil {
		if o.within(o.tokens, wide)+held+n <= 300 {
			o.t.Fatalf("refused %d tokens beside %d used and %d held", n, o.within(o.tokens, wide), held)
		}
		h.Settle(o.now, Amounts{})
		return // what a limit refuses is not counted
	}
	o.requests = append(o.requests, event{o.now, 1})
	o.open, o.held = append(o.open, h), append(o.held, n)
}

func (o *oracle) settle(i int, n int64) {
	o.open[i].Settle(o.now, Amounts{Output: n})
	o.open[i].Settle(o.now, Amounts{Output: n})
	o.tokens = append(o.tokens, event{o.now, n})
	last := len(o.open) - 1
	o.open[i], o.held[i] = o.open[last], o.held[last]
	o.open, o.held = o.open[:last], o.held[:last]
}

// end settles what is open: nothing stays held, and once the window has
// passed nothing stays used.
func (o *oracle) end() {
	for len(o.open) > 0 {
		o.settle(0, 1)
	}
	for i := range o.book.shards {
		for _, a := range o.book.shards[i].accounts {
			for _, c := range a.counters {
				if c.held != 0 || c.used < 0 {
					o.t.Fatalf("%s: %d held, %d used", c.rule.Kind, c.held, c.used)
				}
				c.advance(o.now.Add(o.length + o.length/slots))
				if !c.idle() {
					o.t.Fatalf("%s: %d used after the window", c.rule.Kind, c.used)
				}
			}
		}
	}
}
