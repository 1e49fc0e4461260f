// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"testing"
	"time"
)

// What instances take of a key's limit counts at all of them.
func TestWhatIsSpentIsHeard(t *testing.T) {
	c := newClock()
	limit := Rate{N: 10, Per: time.Minute}
	pool := func() *instance {
		return newInstance(newPoolOf(t, Options{Now: c.Now}, Key{ID: "k0", Requests: limit, Tokens: Rate{N: 1000, Per: time.Minute}}))
	}
	a, b := pool(), pool()
	spend := func(from, to *instance, newcomer bool) {
		t.Helper()
		m := from.Members()[0]
		spent, _ := m.Spent(&from.keys[0])
		from.keys[0].Spend(spent)
		other := to.Members()[0]
		other.HearSpent(spent, c.Now(), c.Now(), newcomer)
	}
	for range 4 {
		use(t, a.Pool, "m", Verdict{})
		use(t, b.Pool, "m", Verdict{})
	}
	spend(a, b, false)
	spend(b, a, false)
	for range 2 {
		use(t, a.Pool, "m", Verdict{})
	}
	spend(a, b, false)
	for _, i := range []*instance{a, b} {
		if err := acquirable(i.Pool); err == nil {
			t.Error("more is let through than the limit allows")
		}
	}
	newcomer := pool()
	spend(a, newcomer, true) // nothing new, but how full it is
	if err := acquirable(newcomer.Pool); err == nil {
		t.Error("the newcomer does not know that the limit is used up")
	}
	c.advance(6 * time.Second)
	if err := acquirable(b.Pool); err != nil {
		t.Errorf("after a tenth of the window: %v", err)
	}
	m := b.Members()[0]
	m.HearSpent(Spent{Requests: 1 << 62, Tokens: -1 << 62, RequestsFull: Never}, Never, c.Now(), false)
	m.HearSpent(Spent{RequestsFull: Never, TokensFull: Never}, Never, c.Now(), true)
	c.advance(2 * time.Minute)
	if err := acquirable(b.Pool); err != nil {
		t.Errorf("two windows after what cannot be: %v", err)
	}
}

// Pins are told once, are heard in the order of their making, and do not pile
// up while nobody can be told.
func TestPinsAreHeard(t *testing.T) {
	c := newClock()
	a, b := NewPins(10000, time.Hour, c.Now), NewPins(10, time.Hour, c.Now)
	a.Put("before", "k0")
	a.Share()
	if news := a.News(10); len(news) != 0 {
		t.Errorf("got %v", news)
	}
	for i := range 20 {
		a.Put(fmt.Sprint("resp_", i), "k1")
		a.Put(fmt.Sprint("resp_", i), "k1")
	}
	news := a.News(15)
	if again := a.News(15); len(news) != 15 || again[0] != news[0] {
		t.Errorf("got %v and %v", news, again)
	}
	a.Told(news)
	if news = append(news, a.News(15)...); len(news) != 20 {
		t.Errorf("got %d", len(news))
	}
	for _, p := range news {
		b.Hear(p.Object, p.Key)
	}
	if key, ok := b.Get("resp_19"); !ok || key != "k1" || b.Len() != 10 {
		t.Errorf("got %q, %d are known", key, b.Len())
	}
	for i := range 3 * maxPinNews {
		a.Put(fmt.Sprint("more_", i), "k1")
	}
	if news := a.News(1 << 30); len(news) > maxPinNews || news[len(news)-1].Object != fmt.Sprint("more_", 3*maxPinNews-1) {
		t.Errorf("%d wait, the last is %v", len(news), news[len(news)-1])
	}
	a.Again()
	if news := a.News(1 << 30); len(news) != maxPinNews {
		t.Errorf("%d are told again", len(news))
	}
}
