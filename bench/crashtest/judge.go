// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"time"
)

// The exam's numbers of tries.
const (
	// maxTries is one request and up to two retries.
	maxTries = 3
	// Of a rate limit without a stated wait.
	maxBurstTries, maxLimitTries = 4, 6
	// maxProbes is how often a route in an outage may be asked: three times to
	// notice, and then less often than there are calls.
	maxProbes = 12
)

// judgeRetryAfter: the same target is asked again after the stated wait, and
// not before.
func judgeRetryAfter(e *evidence) finding {
	role, _ := e.source()
	f := e.delivered(e.view()).
		forbid(e.tries() > 2*maxTries, "the primary was asked %d times", e.tries()).
		demand(role == primary, "the stated wait was not waited for: %s", e.story())
	for i := 1; i < e.tries(); i++ {
		gap := e.Primary[i].At - e.Primary[0].At
		f = f.demand(time.Duration(gap) >= e.pace.of(retryAfter), "the primary was asked again after %s, before the stated wait was over", gap)
	}
	return f.demand(e.tries() == 2, "the primary was asked %d times, not twice", e.tries())
}

// judgeRateLimit: few tries, then the fallback.
func judgeRateLimit(e *evidence) finding {
	early := 0
	for _, r := range e.Primary {
		if time.Duration(r.At-e.Primary[0].At) <= e.pace.of(burst) {
			early++
		}
	}
	return e.delivered(e.view()).
		forbid(e.tries() > 2*maxLimitTries, "the primary was asked %d times", e.tries()).
		demand(early <= maxBurstTries, "%d tries within 3 s, at most %d are asked for", early, maxBurstTries).
		demand(e.tries() <= maxLimitTries, "%d tries, at most %d are asked for", e.tries(), maxLimitTries)
}

// judgeHiccup: the same target is tried again first.
func judgeHiccup(e *evidence) finding {
	role, _ := e.source()
	return e.delivered(e.view()).
		demand(role == primary && len(e.Fallback) == 0, "the primary was not tried again first: %s", e.story()).
		demand(e.tries() == 2, "the primary was asked %d times, not twice", e.tries())
}

// judgeDown: up to two retries, then the fallback.
func judgeDown(e *evidence) finding {
	return e.delivered(e.view()).
		forbid(e.tries() > 2*maxTries, "the primary was asked %d times", e.tries()).
		demand(e.tries() <= maxTries, "the primary was asked %d times, at most %d are asked for", e.tries(), maxTries)
}

// judgeSilent: an answer within the bound, and the silent route only once.
func judgeSilent(e *evidence) finding {
	v := e.view()
	if v.Ending == refused && v.Status >= 500 && e.tries() == 1 && e.within(v.Took, answerBound) {
		return finding{partial, "a clear error in time, but no answer from the fallback"}
	}
	return e.delivered(v).
		demand(e.tries() == 1, "the silent route was asked %s", times(e.tries())).
		demand(e.within(v.FirstText, answerBound), "the answer began after %s", v.FirstText)
}

// judgeLate: the fallback answers before the primary would have.
func judgeLate(e *evidence) finding {
	v := e.view()
	role, _ := e.source()
	return e.delivered(v).
		demand(role == fallback, "the caller waited %s for the primary", v.FirstText).
		demand(e.tries() == 1, "the slow route was asked %s", times(e.tries())).
		demand(e.within(v.FirstText, tokenBound), "the fallback answered after %s", v.FirstText)
}

// judgeBroken: the whole answer, or at least no false success.
func judgeBroken(e *evidence) finding {
	v := e.view()
	switch v.Ending {
	case ended, truncated:
		return e.delivered(v).
			demand(e.tries() <= maxTries, "the primary was asked %d times, at most %d are asked for", e.tries(), maxTries)
	case hung:
		return e.delivered(v)
	case errored, broken:
		if v.Text != "" && !strings.HasPrefix(wholeText, v.Text) {
			return failure("%s after text that is not the answer's beginning", v.Ending)
		}
	}
	return finding{safe, string(v.Ending) + " after " + progress(v.Text)}
}

// judgeMasked: as judgeBroken, and the refusal of the prefill stays inside.
func judgeMasked(e *evidence) finding {
	v := e.view()
	shown := strings.Contains(v.Body+v.Error, prefillMark)
	return judgeBroken(e).
		forbid(shown, "the caller is shown the fallback's refusal of the prefill, not what broke")
}

// judgeUntouched: one request, and everything else arrives.
func judgeUntouched(e *evidence) finding {
	return e.delivered(e.view()).
		demand(e.tries() == 1 && len(e.Fallback) == 0, "a stream that goes on was taken for a broken one: %s", e.story())
}

// judgeNoMarker: the end is taken for the end, and usage is kept.
func judgeNoMarker(e *evidence) finding {
	v := e.view()
	f := e.delivered(v)
	_, r := e.source()
	if f.Verdict == fail || r == nil {
		return f
	}
	late := span(v.start.Add(time.Duration(v.Took)).Sub(r.lastSent))
	return f.
		demand(e.tries() == 1 && len(e.Fallback) == 0, "the end was not taken for the end: %s", e.story()).
		demand(v.Usage != nil && *v.Usage == r.usage, "usage is lost or wrong: %v", encode(v.Usage)).
		demand(e.within(late, atOnce), "the answer ended %s after the provider's last event", late)
}

// judgeContext: one try, then a larger model's answer or the refusal itself.
func judgeContext(e *evidence) finding {
	v := e.view()
	if v.Ending == refused {
		return passedOn(e, contextMark)
	}
	return e.delivered(v).
		forbid(e.tries() != 1, "the primary was asked %d times with a prompt that is too long", e.tries()).
		demand(len(e.Fallback) <= 1, "the fallback was asked %d times", len(e.Fallback))
}

// judgeFilter: one try, and the refusal itself reaches the caller.
func judgeFilter(e *evidence) finding {
	if e.view().Ending == refused {
		return passedOn(e, filterMark)
	}
	if role, _ := e.source(); role == fallback {
		return failure("what the primary refused for its content was put to the fallback")
	}
	return e.delivered(e.view())
}

// passedOn judges an error answer that should be the provider's own.
func passedOn(e *evidence, mark string) finding {
	v := e.view()
	f := finding{pass, "the caller got the provider's own 400 after one try"}
	return f.
		forbid(v.Status != 400 || !strings.Contains(v.Body, mark), "the refusal was masked: the caller got status %d: %s", v.Status, brief(v.Body)).
		forbid(e.tries() > maxTries, "the primary was asked %d times", e.tries()).
		demand(e.tries() == 1, "the refusal reached the caller, but the primary was asked %s", times(e.tries())).
		demand(len(e.Fallback) == 0, "the refusal reached the caller, but the fallback was asked too")
}

// judgeOutage: every call is answered, the route is probed seldom, and used
// again soon after.
func judgeOutage(e *evidence) finding {
	flawed := finding{Verdict: pass}
	for i, v := range e.Views {
		f := e.delivered(v)
		if f.Verdict == fail {
			return failure("call %d of %d: %s", i+1, len(e.Views), f.Reason)
		}
		flawed = flawed.demand(f.Verdict == pass, "call %d of %d: %s", i+1, len(e.Views), f.Reason)
	}
	if flawed.Verdict != pass {
		return flawed
	}
	probes := 0
	back := span(-1)
	for _, r := range e.Primary {
		switch {
		case !r.whole:
			probes++
		case back < 0:
			back = max(r.At-span(e.pace.of(outage)), 0)
		}
	}
	f := finding{pass, "all calls answered; primary asked " + times(probes) + " during the outage, back after " + back.String()}
	return f.
		demand(probes <= maxProbes, "all calls answered, but the primary was asked %d times during the outage, at most %d are asked for", probes, maxProbes).
		demand(back >= 0 && e.within(back, recoveryBound), "all calls answered, but the primary was not used again in time after its recovery")
}

// judgeAccount: name and usage are those of the model that answered.
func judgeAccount(e *evidence) finding {
	v := e.view()
	f := judgeDown(e)
	_, r := e.source()
	if f.Verdict == fail || r == nil {
		return f
	}
	return f.
		demand(slices.Equal(v.Models, []string{r.Model}), "answered by %s, but the caller is told %s", r.Model, strings.Join(v.Models, ", ")).
		demand(v.Usage != nil && *v.Usage == r.usage, "the caller is told a usage of %s, it is %s", encode(v.Usage), encode(r.usage))
}
