// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"testing"
	"time"
)

// What is told of how attempts have gone, of a key and of the upstream.
func TestHealthIsTold(t *testing.T) {
	c := newClock()
	p := newPool(t, c, 1, RoundRobin)
	both := func() []HealthStatus {
		return []HealthStatus{p.Snapshot()[0].HealthStatus, p.UpstreamStatus().HealthStatus}
	}
	for _, h := range both() {
		if h != (HealthStatus{SuccessRate: 1}) {
			t.Errorf("at first: %+v", h)
		}
	}
	play := func(class Class, latency, first time.Duration) {
		t.Helper()
		lease, err := p.Acquire(Want{Model: "m"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, m := p.Snapshot()[0].InFlight, p.UpstreamStatus().InFlight; n != 1 || m != 1 {
			t.Errorf("in flight: %d with the key, %d in all", n, m)
		}
		c.advance(time.Second)
		lease.Report(Outcome{Verdict: Verdict{Class: class}, Latency: latency, FirstToken: first})
		if n, m := p.Snapshot()[0].InFlight, p.UpstreamStatus().InFlight; n != 0 || m != 0 {
			t.Errorf("in flight: %d with the key, %d in all", n, m)
		}
	}
	play(ClassOK, 800*time.Millisecond, 80*time.Millisecond)
	worked := c.Now()
	play(ClassUpstream, time.Hour, 0)
	play(ClassEmpty, time.Hour, 0)
	failed := c.Now()
	play(ClassCaller, time.Hour, 0)
	play(ClassCanceled, time.Hour, 0)
	for _, h := range both() {
		want := HealthStatus{
			Total: 4, Successes: 1, Errors: 2, SuccessRate: 1.0 / 3, ConsecutiveFailures: 2,
			LastSuccess: worked, LastError: failed, LastErrorClass: ClassEmpty,
			Latency: 800 * time.Millisecond, FirstToken: 80 * time.Millisecond,
		}
		if h != want {
			t.Errorf("got  %+v\nwant %+v", h, want)
		}
	}
	// The averages move by an eighth, and the share is of the latest 64.
	play(ClassOK, 1600*time.Millisecond, 160*time.Millisecond)
	for _, h := range both() {
		if h.Latency != 900*time.Millisecond || h.FirstToken != 90*time.Millisecond || h.ConsecutiveFailures != 0 {
			t.Errorf("got %+v", h)
		}
	}
	for range window {
		play(ClassOK, time.Second, time.Second)
	}
	for _, h := range both() {
		if h.SuccessRate != 1 || h.Errors != 2 {
			t.Errorf("after %d successes: %+v", window, h)
		}
	}
}
