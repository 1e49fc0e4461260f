// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"testing"
	"time"
)

// The cost of one attempt, in parallel, with all keys free and with 99 of 100
// at rest for the model.
func BenchmarkAcquireReport(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			acquireAndReport(b, newPool(b, newClock(), n, RoundRobin))
		})
		for policy := Weighted; policy <= Sticky; policy++ {
			b.Run(fmt.Sprintf("keys=%d/%s", n, policy), func(b *testing.B) {
				acquireAndReport(b, newPool(b, newClock(), n, policy))
			})
		}
	}
	b.Run("keys=10/in trouble", func(b *testing.B) {
		p := newPool(b, newClock(), 10, RoundRobin)
		use(b, p, "m", Verdict{Class: ClassUpstream})
		use(b, p, "m", Verdict{Class: ClassReset})
		acquireAndReport(b, p)
	})
	b.Run("keys=10/shared", func(b *testing.B) {
		p := newPool(b, newClock(), 10, RoundRobin)
		p.Upstream().Share()
		acquireAndReport(b, p)
	})
	b.Run("keys=1000/resting=990", func(b *testing.B) {
		p := newPool(b, newClock(), 1000, RoundRobin)
		for i := range 990 {
			lease := Lease{pool: p, index: i, model: "m", began: p.opts.Now(), slot: p.members[i].state.slots.take()}
			lease.Report(Outcome{Verdict: Verdict{Class: ClassRateLimited}})
		}
		acquireAndReport(b, p)
	})
}

func acquireAndReport(b *testing.B, p *Pool) {
	b.ReportAllocs()
	left := Allowance{Remaining: 500_000, Limit: 1_000_000, ResetAt: p.opts.Now().Add(time.Minute)}
	b.RunParallel(func(pb *testing.PB) {
		want := Want{Model: "m", Tokens: 100}
		for pb.Next() {
			var tried Tried
			want.Affinity++
			lease, err := p.Acquire(want, &tried)
			if err != nil {
				b.Fatal(err)
			}
			lease.Report(Outcome{Latency: time.Second, Headroom: Headroom{Requests: left, Tokens: left}})
		}
	})
}

// What a call costs the pool it costs without allocating, whatever the policy,
// also where other instances are told of it.
func TestAcquireAndReportAllocateNothing(t *testing.T) {
	for policy := RoundRobin; policy <= Sticky; policy++ {
		p := newPool(t, newClock(), 10, policy)
		if policy%2 == 0 {
			p.Upstream().Share()
		}
		want := Want{Model: "m", Tokens: 100}
		left := Allowance{Remaining: 500_000, Limit: 1_000_000, ResetAt: p.opts.Now().Add(time.Minute)}
		allocated := testing.AllocsPerRun(1000, func() {
			var tried Tried
			want.Affinity++
			lease, err := p.Acquire(want, &tried)
			if err != nil {
				t.Fatal(err)
			}
			lease.Answering(Headroom{Requests: left})
			lease.Report(Outcome{Latency: time.Second, Headroom: Headroom{Requests: left, Tokens: left}})
		})
		if allocated >= 1 {
			t.Errorf("%s: %.1f allocations", policy, allocated)
		}
	}
}

// What it costs to look for what there is to tell, when there is nothing.
func BenchmarkNews(b *testing.B) {
	p := newPool(b, newClock(), 1000, RoundRobin)
	members, told := p.Members(), make([]Told, 1000)
	b.ReportAllocs()
	for b.Loop() {
		for i := range members {
			if facts := members[i].State.News(&told[i], p.opts.Now()); len(facts) > 0 {
				b.Fatal(facts)
			}
		}
	}
}

// BenchmarkRememberPins is how long calls wait when a group of many pins is
// written down.
func BenchmarkRememberPins(b *testing.B) {
	pins := NewPins(1<<16, time.Hour, time.Now)
	for i := range 1 << 16 {
		pins.Put(fmt.Sprintf("resp_%d", i), "key")
	}
	for b.Loop() {
		pins.Changed(0)
		pins.gather(0)
	}
}
