// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pace is by how much every time is divided.
type pace float64

// The profiles' paces. With a faster one, a busy machine would pass for a slow
// gateway.
const (
	full pace = 1
	fast pace = 5
)

// of scales a time.
func (p pace) of(d time.Duration) time.Duration { return time.Duration(float64(d) / float64(p)) }

// The times of the exam.
const (
	pieceEvery   = 50 * time.Millisecond
	retryAfter   = 2 * time.Second
	burst        = 3 * time.Second
	lateToken    = 20 * time.Second
	tokenBound   = 15 * time.Second
	answerBound  = 40 * time.Second
	silence      = 30 * time.Second
	neverAnswers = 10 * time.Minute
	outage       = 60 * time.Second
	// recovery is a moment before the call that is made as the outage ends, so
	// that this call is sure to find the provider back.
	recovery      = outage - 500*time.Millisecond
	outageCalls   = 20
	outageEvery   = 4 * time.Second
	recoveryBound = 16 * time.Second
	atOnce        = time.Second
	cutAt         = 40
	silentAt      = 30
	malformedAt   = 20
)

// scenario is one way for a provider to fail.
type scenario struct {
	number int
	title  string
	// bound is when the caller gives up on a call.
	bound time.Duration
	// calls are made one every outageEvery; zero stands for one.
	calls int
	// primary and fallback are how the models answer; nil stands for whole.
	primary, fallback func(*exchange)
	judge             func(*evidence) finding
}

// scenarios are the exam.
var scenarios = []*scenario{
	{
		number: 1, title: "429 with Retry-After 2", bound: 45 * time.Second, judge: judgeRetryAfter,
		primary: func(e *exchange) {
			if wait := e.pace.of(retryAfter); e.since < wait {
				e.refuseFor(wait)
				return
			}
			e.all()
		},
	},
	{
		number: 2, title: "429 for ever", bound: 45 * time.Second, judge: judgeRateLimit,
		primary: func(e *exchange) { e.refuse(rateLimited) },
	},
	{
		number: 3, title: "500 once", bound: 45 * time.Second, judge: judgeHiccup,
		primary: func(e *exchange) {
			if e.n == 1 {
				e.refuse(failed)
				return
			}
			e.all()
		},
	},
	{
		number: 4, title: "503 for ever", bound: 45 * time.Second, judge: judgeDown,
		primary: func(e *exchange) { e.refuse(unavailable) },
	},
	{
		number: 5, title: "reset before headers", bound: 45 * time.Second, judge: judgeDown,
		primary: (*exchange).reset,
	},
	{
		number: 6, title: "no answer at all", bound: 75 * time.Second, judge: judgeSilent,
		primary: func(e *exchange) { e.wait(e.pace.of(neverAnswers)) },
	},
	{
		number: 7, title: "first token after 20 s", bound: 45 * time.Second, judge: judgeLate,
		primary: func(e *exchange) {
			e.begin()
			if e.wait(e.pace.of(lateToken)) {
				e.finish(e.f.end...)
			}
		},
	},
	{
		number: 8, title: "cut after 40 of 60 tokens", bound: 60 * time.Second, judge: judgeBroken,
		primary: cutStream,
	},
	{
		number: 9, title: "30 s of silence mid-stream", bound: 75 * time.Second, judge: judgeBroken,
		primary: func(e *exchange) {
			e.begin()
			if e.tell(silentAt) && e.silent(silence) {
				e.cut()
			}
		},
	},
	{
		number: 10, title: "a malformed event", bound: 45 * time.Second, judge: judgeUntouched,
		primary: func(e *exchange) {
			e.begin()
			e.tell(malformedAt)
			e.send(e.f.malformed)
			e.finish(e.f.end...)
		},
	},
	{
		number: 11, title: "no [DONE]", bound: 45 * time.Second, judge: judgeNoMarker,
		primary: func(e *exchange) {
			e.begin()
			e.finish()
		},
	},
	{
		number: 12, title: "context length", bound: 45 * time.Second, judge: judgeContext,
		primary: func(e *exchange) { e.refuse(contextLength) },
	},
	{
		number: 13, title: "content filter", bound: 45 * time.Second, judge: judgeFilter,
		primary: func(e *exchange) { e.refuse(contentFilter) },
	},
	{
		number: 14, title: "cut, prefill refused", bound: 60 * time.Second, judge: judgeMasked,
		primary: cutStream,
		fallback: func(e *exchange) {
			if e.ask.prefill != "" {
				e.refuse(noPrefill)
				return
			}
			e.all()
		},
	},
	{
		number: 15, title: "60 s outage", bound: 30 * time.Second, calls: outageCalls, judge: judgeOutage,
		primary: func(e *exchange) {
			if e.since < e.pace.of(recovery) {
				e.refuse(unavailable)
				return
			}
			e.all()
		},
	},
	{
		number: 16, title: "accounting after failover", bound: 45 * time.Second, judge: judgeAccount,
		primary: func(e *exchange) { e.refuse(unavailable) },
	},
}

func cutStream(e *exchange) {
	e.begin()
	if e.tell(cutAt) {
		e.cut()
	}
}

// script returns how a model answers.
func (s *scenario) script(role string) func(*exchange) {
	play := s.primary
	if role == fallback {
		play = s.fallback
	}
	if play == nil {
		return (*exchange).all
	}
	return play
}

// find returns the scenario and the role that a model's name tells, or nil.
func find(model string) (*scenario, string) {
	for _, s := range scenarios {
		rest, ok := strings.CutPrefix(model, "s"+pad(s.number)+"-")
		if !ok {
			continue
		}
		for _, f := range families {
			for _, role := range []string{primary, fallback} {
				if rest == f.name+"-"+role {
					return s, role
				}
			}
		}
	}
	return nil, ""
}

func pad(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// play makes a scenario's calls and judges what came of them.
func (s *scenario) play(ctx context.Context, f *family, c *caller, p *provider) *result {
	models := []string{modelName(s.number, f, primary), modelName(s.number, f, fallback)}
	views := make([]*view, max(s.calls, 1))
	start := time.Now()
	var calls sync.WaitGroup
	for i := range views {
		pause(ctx, time.Until(start.Add(time.Duration(i)*p.pace.of(outageEvery))))
		calls.Go(func() { views[i] = c.call(ctx, f, models[0], p.pace.of(s.bound)) })
	}
	calls.Wait()
	p.rest(time.Second, models...)
	e := &evidence{
		f: f, pace: p.pace, Views: views,
		Primary: p.asked(models[0]), Fallback: p.asked(models[1]),
	}
	return &result{Scenario: s.number, Title: s.title, Family: f.name, finding: s.judge(e), Buffered: e.buffered(), Evidence: e}
}

// pause lets time pass, unless the exam is called off: then the calls that are
// left end at once.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
