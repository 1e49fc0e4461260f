// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"time"
)

// timeline plays events in order, in the time of the bubble that it runs in.
type timeline struct {
	events []event
	count  int
}

type event struct {
	at    time.Time
	order int
	do    func()
}

func (l *timeline) Len() int { return len(l.events) }
func (l *timeline) Less(i, j int) bool {
	a, b := l.events[i], l.events[j]
	return a.at.Before(b.at) || a.at.Equal(b.at) && a.order < b.order
}
func (l *timeline) Swap(i, j int) { l.events[i], l.events[j] = l.events[j], l.events[i] }
func (l *timeline) Push(e any)    { l.events = append(l.events, e.(event)) }
func (l *timeline) Pop() any {
	last := l.events[len(l.events)-1]
	l.events = l.events[:len(l.events)-1]
	return last
}

// after has something done later.
func (l *timeline) after(d time.Duration, do func()) {
	l.count++
	heap.Push(l, event{time.Now().Add(d), l.count, do})
}

func (l *timeline) run() {
	for l.Len() > 0 {
		e := heap.Pop(l).(event)
		time.Sleep(time.Until(e.at))
		e.do()
	}
}

// bucket is a limit as providers keep it: it refills evenly.
type bucket struct {
	limit, left float64
	at          time.Time
}

func (b *bucket) refill() {
	now := time.Now()
	b.left = min(b.limit, b.left+b.limit*now.Sub(b.at).Minutes())
	b.at = now
}

// lacks returns how long it takes until n are there.
func (b *bucket) lacks(n float64) time.Duration {
	return time.Duration(max(0, n-b.left) / b.limit * float64(time.Minute))
}

func (b *bucket) allowance() Allowance {
	return Allowance{Remaining: int64(b.left), Limit: int64(b.limit), ResetAt: b.at.Add(b.lacks(b.limit))}
}

// account is one key as its provider sees it.
type account struct {
	requests, tokens bucket
	dead, slow       bool
}

func (a *account) answer(tokens float64) (Verdict, Headroom) {
	a.requests.refill()
	a.tokens.refill()
	wait := max(a.requests.lacks(1), a.tokens.lacks(tokens))
	switch {
	case a.dead:
		return Verdict{Class: ClassCredential}, Headroom{}
	case wait > 0:
		return Verdict{Class: ClassRateLimited, Wait: wait}, Headroom{}
	}
	a.requests.left--
	a.tokens.left -= tokens
	return Verdict{}, Headroom{Requests: a.requests.allowance(), Tokens: a.tokens.allowance()}
}

// service is a simulated provider and the pool that stands before it.
type service struct {
	pool     *Pool
	accounts map[string]*account
	// down is between which times it answers nothing but 500.
	down [2]time.Time
	// attempts counts the outcomes, and inOutage the attempts while down.
	attempts map[Class]int
	inOutage int
}

func (s *service) answer(id string, tokens float64) (Verdict, Headroom) {
	if now := time.Now(); !now.Before(s.down[0]) && now.Before(s.down[1]) {
		s.inOutage++
		return Verdict{Class: ClassUpstream}, Headroom{}
	}
	return s.accounts[id].answer(tokens)
}

// caller plays clients: what it does between attempts is what the gateway
// does.
type caller struct {
	timeline timeline
	random   *rand.Rand
	services []*service
	// patience is how long a call waits for a key.
	patience time.Duration

	calls, refused, served, lost, sent int
}

// simulatedCall is one call on its way.
type simulatedCall struct {
	tokens, guess float64
	session       uint64
	mistaken      bool
	target        int
	retries       int
	tried         Tried
	began         time.Time
}

// arrive has n calls come in at random, so many in a second.
func (c *caller) arrive(perSecond float64, until time.Duration, mistaken float64) {
	end := time.Now().Add(until)
	var next func()
	next = func() {
		if !time.Now().Before(end) {
			return
		}
		c.calls++
		tokens := 200 + c.random.ExpFloat64()*800
		c.step(&simulatedCall{
			tokens: tokens, guess: tokens * (0.7 + 0.6*c.random.Float64()), session: 1 + c.random.Uint64N(200),
			mistaken: c.random.Float64() < mistaken, began: time.Now(),
		})
		c.timeline.after(time.Duration(c.random.ExpFloat64()/perSecond*float64(time.Second)), next)
	}
	c.timeline.after(0, next)
}

// step makes the next attempt of a call.
func (c *caller) step(call *simulatedCall) {
	if call.target == len(c.services) {
		c.lost++
		return
	}
	s := c.services[call.target]
	last := call.target == len(c.services)-1
	lease, err := s.pool.Acquire(Want{Model: "m", Tokens: int(call.guess), Affinity: mix(call.session), Insist: last}, &call.tried)
	var cooling *CoolingError
	switch {
	case errors.As(err, &cooling) && last && cooling.Until.Sub(call.began) <= c.patience:
		c.timeline.after(time.Until(cooling.Until), func() { call.tried = Tried{}; c.step(call) })
		return
	case err != nil:
		c.goOn(call)
		return
	}
	c.sent++
	verdict, headroom := s.answer(lease.KeyID(), call.tokens)
	if verdict.Class == ClassOK && call.mistaken {
		verdict.Class = ClassCaller
	}
	firstToken, whole := c.duration(s.accounts[lease.KeyID()], verdict.Class)
	if verdict.Class == ClassOK {
		c.timeline.after(firstToken, func() { lease.Answering(headroom) })
	}
	c.timeline.after(whole, func() {
		s.attempts[verdict.Class]++
		lease.Report(Outcome{Verdict: verdict, Latency: whole, FirstToken: firstToken, Tokens: int(call.tokens)})
		c.follow(call, verdict)
	})
}

// duration draws how long an attempt takes: refusals come soon.
func (c *caller) duration(a *account, class Class) (firstToken, whole time.Duration) {
	if class != ClassOK {
		return 0, time.Duration(30+c.random.IntN(50)) * time.Millisecond
	}
	firstToken = time.Duration(200+c.random.IntN(400)) * time.Millisecond
	if a.slow {
		firstToken *= 10
	}
	return firstToken, firstToken + time.Duration(c.random.ExpFloat64()*4*float64(time.Second))
}

// follow does what follows from a verdict.
func (c *caller) follow(call *simulatedCall, v Verdict) {
	switch {
	case v.Class == ClassOK:
		c.served++
	case v.Next() == Answer:
		c.refused++
	case v.Next() == NextTarget, v.Next() == Retry && call.retries == 2:
		c.goOn(call)
	case v.Next() == Retry:
		call.retries++
		c.timeline.after(time.Duration(c.random.IntN(200))*time.Millisecond, func() { c.step(call) })
	default:
		c.step(call)
	}
}

func (c *caller) goOn(call *simulatedCall) {
	call.target, call.tried = call.target+1, Tried{}
	c.step(call)
}
