// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"fmt"
	"testing"
	"time"
)

// copyOf writes a book down and reads it again, at a later time.
func copyOf(t *testing.T, b *Book, written, read time.Time) *Book {
	t.Helper()
	fresh := NewBook()
	for group := range Groups {
		text, changed, err := b.Snapshot(written, group)
		if err != nil {
			t.Fatal(err)
		}
		if !changed {
			continue
		}
		if err := fresh.Restore(read, text); err != nil {
			t.Fatal(err)
		}
	}
	return fresh
}

// What was written down counts again, as long as it would have anyway; what
// was held counts as used.
func TestSnapshot(t *testing.T) {
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Skip(err)
	}
	rules := []Rule{
		window(Requests, 100, time.Hour),
		{Kind: Tokens, Amount: 1000, Period: Period{Calendar: Day, Zone: tokyo}},
		{Kind: Cost, Amount: 1000, Period: Period{Calendar: Month}},
		{Kind: Concurrent, Amount: 10},
		window(InputTokens, 1000, 10*time.Second),
	}
	b := NewBook()
	for i := range 3 {
		h := enter(t, b, start.Add(time.Duration(i)*15*time.Minute), rules...)
		h.Reserve(start, Amounts{Input: 100, Cost: 10})
		if i < 2 {
			h.Settle(start, Amounts{Input: 50, Cost: 10})
		}
	}
	now := start.Add(30 * time.Minute)
	for at, want := range map[time.Duration][]int64{
		0:                   {97, 800, 970, 10, 1000},
		40 * time.Minute:    {98, 800, 970, 10, 1000},
		24 * time.Hour:      {100, 1000, 970, 10, 1000},
		31 * time.Hour * 24: {100, 1000, 1000, 10, 1000},
	} {
		fresh := copyOf(t, b, now, now.Add(at))
		b.Changed(0)
		for i := range b.shards {
			b.shards[i].changed = true
		}
		for i, state := range fresh.States(now.Add(at), "app", rules) {
			if state.Remaining != want[i] {
				t.Errorf("after %s: %s: %d left, want %d", at, state.Rule.Kind, state.Remaining, want[i])
			}
		}
	}
}

// What has not changed is not written again; what could not be written is.
func TestSnapshotOfWhatChanged(t *testing.T) {
	b := NewBook()
	changed := func() (n int) {
		for group := range Groups {
			if _, changed, _ := b.Snapshot(start, group); changed {
				n++
			}
		}
		return n
	}
	if n := changed(); n != 0 {
		t.Errorf("%d groups of an empty book", n)
	}
	h := enter(t, b, start, window(Tokens, 100, time.Hour))
	if n := changed(); n != 1 {
		t.Errorf("%d groups after one client's call", n)
	}
	if n := changed(); n != 0 {
		t.Errorf("%d groups are written again", n)
	}
	h.Settle(start, Amounts{})
	b.Changed(5)
	if n := changed(); n < 1 {
		t.Error("what changed is not written")
	}
}

// No text, however broken, brings a book down or below zero.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"a":[{"kind":"tokens","window":60000000000,"slots":{"1":5,"-9":-7}},{"kind":"cost","calendar":1,"zone":"UTC","next":"2026-03-15T00:00:00Z","used":-5}]}`))
	f.Add([]byte(`{"a":[{"kind":"requests","window":-1},{"kind":"x"},{}],"":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := NewBook()
		_ = b.Restore(start, text)
		for i := range b.shards {
			for _, a := range b.shards[i].accounts {
				for _, c := range a.counters {
					if c.used < 0 {
						t.Errorf("%s: %d used", c.rule.Kind, c.used)
					}
				}
			}
		}
	})
}

// How long a busy second takes to write down.
func BenchmarkSnapshot(b *testing.B) {
	book := NewBook()
	rules := []Rule{window(Requests, 1e12, time.Hour), {Kind: Tokens, Amount: 1e12, Period: Period{Calendar: Day}}}
	for i := range 10_000 {
		h, _ := book.Enter(start, fmt.Sprintf("client-%d", i), rules, false)
		h.Reserve(start, Amounts{Input: 100})
		h.Settle(start, Amounts{Input: 100})
	}
	size := 0
	for b.Loop() {
		size = 0
		for group := range Groups {
			book.Changed(group)
			text, _, err := book.Snapshot(start, group)
			if err != nil {
				b.Fatal(err)
			}
			size += len(text)
		}
	}
	b.ReportMetric(float64(size)/1e6, "MB")
}
