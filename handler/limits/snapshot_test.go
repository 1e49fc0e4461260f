// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// copyOf writes a book down and reads it again, at a later time.
func copyOf(t *testing.T, b *Book, written, read time.Time) *Book {
	t.Helper()
	fresh := NewBook()
	for part := range Parts {
		text, changed, err := b.Snapshot(written, part)
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
		h.reserve(start, Amounts{Input: 100, Cost: 10})
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
		for i, n := range left(t, fresh, now.Add(at), rules...) {
			if n != want[i] {
				t.Errorf("after %s: %s: %d left, want %d", at, rules[i].Kind, n, want[i])
			}
		}
	}
}

// Groups and rules about models are kept apart from clients and from rules
// about all models, as they are in memory; and what was written down before groups
// were known counts on.
func TestSnapshotOfGroupsAndModels(t *testing.T) {
	rules := []Rule{window(Tokens, 100, time.Hour), {Kind: Tokens, Amount: 100, Period: Period{Window: time.Hour}, Models: []string{"o3", "o4*"}}}
	client, group := Client("staff", rules), Group("staff", rules)
	b := NewBook()
	ask(b, start, "m", Amounts{Input: 5}, client, group)
	ask(b, start, "o4-mini", Amounts{Input: 3}, group)
	fresh := copyOf(t, b, start, start)
	checkUsed(t, fresh, start, client, 5, 0)
	checkUsed(t, fresh, start, group, 8, 3)

	old := NewBook()
	text := `{"staff":[{"kind":"tokens","window":3600000000000,"zone":"UTC","slots":{"15764453":5}}]}`
	if err := old.Restore(start, []byte(text)); err != nil {
		t.Fatal(err)
	}
	checkUsed(t, old, start, client, 5, 0)
}

// What has not changed is not written again; what could not be written is.
func TestSnapshotOfWhatChanged(t *testing.T) {
	b := NewBook()
	changed := func() (n int) {
		for part := range Parts {
			if _, changed, _ := b.Snapshot(start, part); changed {
				n++
			}
		}
		return n
	}
	if n := changed(); n != 0 {
		t.Errorf("%d parts of an empty book", n)
	}
	h := enter(t, b, start, window(Tokens, 100, time.Hour))
	h.reserve(start, Amounts{Input: 1})
	if n := changed(); n != 1 {
		t.Errorf("%d parts after one client's call", n)
	}
	if n := changed(); n != 0 {
		t.Errorf("%d parts are written again", n)
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
		h := Begin(book, []*Subject{Client(fmt.Sprintf("client-%d", i), rules)}, false)
		_, _ = h.Enter(context.Background(), start)
		h.reserve(start, Amounts{Input: 100})
		h.Settle(start, Amounts{Input: 100})
	}
	size := 0
	for b.Loop() {
		size = 0
		for part := range Parts {
			book.Changed(part)
			text, _, err := book.Snapshot(start, part)
			if err != nil {
				b.Fatal(err)
			}
			size += len(text)
		}
	}
	b.ReportMetric(float64(size)/1e6, "MB")
}
