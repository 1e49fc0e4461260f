// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// The book forgets clients for whom nothing counts any more, so ids that
// somebody invents don't fill it.
func TestIdleClientsAreForgotten(t *testing.T) {
	b, rules := NewBook(), []Rule{window(Requests, 5, time.Second), window(Tokens, 5, time.Second), {Kind: Concurrent, Amount: 1}}
	call := func(client string, now time.Time) (*Hold, *Exceeded) {
		h := Begin(b, []*Subject{Client(client, rules)}, false)
		exceeded, _ := h.Enter(context.Background(), now)
		return h, exceeded
	}
	busy, _ := call("busy", start)
	busy.reserve(start, Amounts{Input: 2})
	now := start
	for i := range 200_000 {
		now = now.Add(time.Millisecond)
		h, _ := call(fmt.Sprint(i), now)
		h.reserve(now, Amounts{Input: 1})
		h.Settle(now, Amounts{Input: 1})
	}
	if n := b.size(); n > 64*4*minSweep {
		t.Errorf("%d clients are remembered", n)
	}
	if _, exceeded := call("busy", now); exceeded == nil {
		t.Error("a client under way was forgotten")
	}
}

func BenchmarkCall(b *testing.B) {
	book := NewBook()
	rules := []Rule{window(Requests, 1e12, time.Minute), window(Tokens, 1e12, time.Minute), {Kind: Concurrent, Amount: 1e6}}
	app := []*Subject{Client("app", rules)}
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		h := Begin(book, app, false)
		_, _ = h.Enter(context.Background(), now)
		h.reserve(now, Amounts{Input: 100, Output: 200})
		h.Settle(now, Amounts{Input: 90, Output: 20})
	}
}

// What it takes to remember what a client has used.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for name, rule := range map[string]Rule{"window": window(Requests, 1e6, time.Hour), "day": {Kind: Requests, Amount: 1e6, Period: Period{Calendar: Day}}} {
		b.Run(name, func(b *testing.B) {
			subjects := make([]*Subject, n)
			for i := range subjects {
				subjects[i] = Client(fmt.Sprintf("client-%d", i), []Rule{rule})
			}
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				book := NewBook()
				for _, s := range subjects {
					h := Begin(book, []*Subject{s}, false)
					_, _ = h.Enter(context.Background(), start)
					h.Settle(start, Amounts{})
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				runtime.KeepAlive(book)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/client")
		})
	}
}

// size returns how many subjects the book remembers.
func (b *Book) size() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.accounts)
		s.mu.Unlock()
	}
	return n
}
