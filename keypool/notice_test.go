// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var noticeWords = []string{
	KeyCooled: "cooled", KeyDisabled: "disabled", KeyRecovered: "recovered", UpstreamDown: "down", UpstreamUp: "up",
}

// listener writes down what operators hear.
type listener struct{ heard []string }

func (l *listener) notify(n Notice) {
	words := []string{noticeWords[n.Kind], n.KeyID, n.Model, n.Class.String()}
	l.heard = append(l.heard, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" || w == "ok" }), " "))
}

// take returns what was heard since it was last asked.
func (l *listener) take() string {
	heard := strings.Join(l.heard, ", ")
	l.heard = nil
	return heard
}

// Operators hear of a key's rest if it is long or the key is rejected, once
// until it works again. Of short rests they hear nothing.
func TestNoticesOfKeys(t *testing.T) {
	for name, test := range map[string]struct {
		verdicts []Verdict
		heard    string
	}{
		"a short rest":             {[]Verdict{{Class: ClassRateLimited}, {Class: ClassRateLimited}}, ""},
		"a long one":               {[]Verdict{{Class: ClassRateLimited, Wait: time.Hour}}, "cooled k0 m rate_limited"},
		"out of quota":             {[]Verdict{{Class: ClassQuota, Wait: time.Second}, {Class: ClassQuota}}, "cooled k0 quota"},
		"rejected":                 {[]Verdict{{Class: ClassCredential}, {Class: ClassCredential}, {Class: ClassCredential}}, "disabled k0 credential"},
		"rejected, then works":     {[]Verdict{{Class: ClassCredential}, {}}, "disabled k0 credential, recovered k0"},
		"not allowed, then is":     {[]Verdict{{Class: ClassAccess}, {}, {}}, "cooled k0 m access, recovered k0 m"},
		"broke, then rejected":     {[]Verdict{{Class: ClassQuota}, {Class: ClassCredential}, {}}, "cooled k0 quota, disabled k0 credential, recovered k0"},
		"rejected twice":           {[]Verdict{{Class: ClassStale}, {}, {Class: ClassStale}}, "disabled k0 stale, recovered k0, disabled k0 stale"},
		"a short rest, then works": {[]Verdict{{Class: ClassRateLimited}, {}}, ""},
		"the client's fault":       {[]Verdict{{Class: ClassCaller}, {Class: ClassModel}, {Class: ClassCanceled}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, l := newClock(), new(listener)
			p := newPool(t, c, 1, RoundRobin)
			p.opts.Notify = l.notify
			for _, verdict := range test.verdicts {
				use(t, p, "m", verdict)
				c.advance(25 * time.Hour)
			}
			if got := l.take(); got != test.heard {
				t.Errorf("heard %q, want %q", got, test.heard)
			}
		})
	}
}

// What an operator does is told like what happens by itself.
func TestNoticesOfOperators(t *testing.T) {
	c, l := newClock(), new(listener)
	p := newPool(t, c, 1, RoundRobin)
	p.opts.Notify = l.notify
	for _, step := range []struct {
		do    func()
		heard string
	}{
		{func() { p.Disable("k0"); p.Disable("k0") }, "disabled k0 disabled"},
		{func() { p.Enable("k0"); p.Enable("k0") }, "recovered k0"},
		{func() { use(t, p, "m", Verdict{Class: ClassQuota}); p.Reset("k0"); p.Reset("k0") }, "cooled k0 quota, recovered k0"},
		{func() { use(t, p, "m", Verdict{Class: ClassRateLimited}); p.Reset("k0") }, ""},
	} {
		step.do()
		if got := l.take(); got != step.heard {
			t.Errorf("heard %q, want %q", got, step.heard)
		}
	}
}

// Keys of an account rest together, and each is told of.
func TestNoticesOfAccounts(t *testing.T) {
	l := new(listener)
	keys := []Key{{ID: "a1", Secret: NewSecret("1"), Account: "a"}, {ID: "a2", Secret: NewSecret("2"), Account: "a"}, {ID: "b", Secret: NewSecret("3")}}
	p, err := New(keys, []*State{NewState(), NewState(), NewState()}, Options{Now: newClock().Now, Notify: l.notify})
	if err != nil {
		t.Fatal(err)
	}
	use(t, p, "m", Verdict{Class: ClassQuota})
	if got := l.take(); got != "cooled a1 quota, cooled a2 quota" {
		t.Errorf("heard %q", got)
	}
}

// An upstream that is taken out is told of once, and once when it is back.
func TestNoticesOfUpstreams(t *testing.T) {
	for name, test := range map[string]struct {
		class Class
		times int
		down  string
		up    string
	}{
		"fails":              {ClassUpstream, 7, "down m upstream", "up m"},
		"fails a few times":  {ClassUpstream, 4, "", ""},
		"cannot be reached":  {ClassNotSent, 7, "down not_sent", "up"},
		"overloaded":         {ClassOverloaded, 3, "", ""},
		"not in our region":  {ClassRegion, 3, "down region", "up"},
		"the client's fault": {ClassCaller, 30, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			timed(t, func(t *testing.T) {
				l := new(listener)
				p := newTimedPool(t, 2, Options{Notify: l.notify})
				for range test.times {
					if lease, err := p.Acquire(Want{Model: "m"}, new(Tried)); err == nil {
						lease.Report(Outcome{Verdict: Verdict{Class: test.class}})
					}
					time.Sleep(11 * time.Second) // so that it is probed, and fails again
				}
				if got := l.take(); got != test.down {
					t.Errorf("heard %q, want %q", got, test.down)
				}
				time.Sleep(time.Hour)
				for range 3 {
					use(t, p, "m", Verdict{})
				}
				if got := l.take(); got != test.up {
					t.Errorf("then heard %q, want %q", got, test.up)
				}
			})
		})
	}
}

// When keys fail alike they are cleared, and it is the upstream that is down.
func TestNoticesOfKeysThatFailAlike(t *testing.T) {
	timed(t, func(t *testing.T) {
		l := new(listener)
		p := newTimedPool(t, 3, Options{Notify: l.notify})
		for range 3 {
			use(t, p, "m", Verdict{Class: ClassCredential})
		}
		want := ""
		for i := range 3 {
			want += fmt.Sprintf("disabled k%d credential, ", i)
		}
		if got := l.take(); got != want+"recovered k0, recovered k1, recovered k2, down credential" {
			t.Errorf("heard %q", got)
		}
		time.Sleep(time.Minute)
		use(t, p, "m", Verdict{})
		if got := l.take(); got != "up" {
			t.Errorf("then heard %q", got)
		}
	})
}
