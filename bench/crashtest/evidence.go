// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
)

// verdict is how a scenario was passed.
type verdict string

// The verdicts, from good to bad.
const (
	// pass: what the exam asks.
	pass verdict = "pass"
	// safe: not the whole answer, but a clear error without a false success.
	safe verdict = "safe"
	// partial: the caller was helped, but not as the exam asks.
	partial verdict = "partial"
	// fail: anything else.
	fail verdict = "fail"
)

// finding is a verdict with its reason.
type finding struct {
	Verdict verdict `json:"verdict"`
	Reason  string  `json:"reason"`
}

// demand lowers a pass to partial, for the first reason there is.
func (f finding) demand(ok bool, format string, values ...any) finding {
	if ok || f.Verdict != pass {
		return f
	}
	return finding{partial, fmt.Sprintf(format, values...)}
}

// forbid lowers anything to fail.
func (f finding) forbid(bad bool, format string, values ...any) finding {
	if !bad || f.Verdict == fail {
		return f
	}
	return finding{fail, fmt.Sprintf(format, values...)}
}

func failure(format string, values ...any) finding {
	return finding{fail, fmt.Sprintf(format, values...)}
}

// evidence is what both ends saw of a scenario.
type evidence struct {
	f    *family
	pace pace

	Primary  []record `json:"primary"`
	Fallback []record `json:"fallback"`
	Views    []*view  `json:"calls"`
}

// slack is what the machine may take for itself.
const slack = 700 * time.Millisecond

// within compares a time with a bound of the exam.
func (e *evidence) within(d span, bound time.Duration) bool {
	return time.Duration(d) <= e.pace.of(bound)+slack
}

// view is the only call, in scenarios that have one.
func (e *evidence) view() *view { return e.Views[0] }

// tries is how often the primary was asked.
func (e *evidence) tries() int { return len(e.Primary) }

// source is the request that brought the end of the answer, and its role. The
// provider's record tells it, not the name in the answer, which a gateway may
// have changed.
func (e *evidence) source() (role string, r *record) {
	for i := range e.Primary {
		if e.Primary[i].whole {
			role, r = primary, &e.Primary[i]
		}
	}
	for i := range e.Fallback {
		if e.Fallback[i].whole && (r == nil || r.At < e.Fallback[i].At) {
			role, r = fallback, &e.Fallback[i]
		}
	}
	return role, r
}

// story tells in a few words what happened.
func (e *evidence) story() string {
	role, _ := e.source()
	if role == "" {
		role = "nobody"
	}
	return fmt.Sprintf("answered by the %s; primary asked %s, fallback %s", role, times(e.tries()), times(len(e.Fallback)))
}

func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	case 2:
		return "twice"
	default:
		return fmt.Sprintf("%d times", n)
	}
}

// delivered judges whether a call got one whole, well-formed answer; whatever
// claims to be whole and is not fails.
func (e *evidence) delivered(v *view) finding {
	switch {
	case v.Ending == refused:
		return failure("the caller got status %d: %s", v.Status, brief(v.Body))
	case v.Ending != ended && v.Ending != truncated:
		return failure("%s after %s and %s", v.Ending, progress(v.Text), v.Took)
	}
	if lie := e.falseSuccess(v); lie != "" {
		return failure("%s", lie)
	}
	f := finding{pass, e.story()}
	return f.demand(len(v.Flaws) == 0, "the answer is whole, but its format is not: %s", strings.Join(v.Flaws, "; "))
}

// falseSuccess tells what is wrong with an answer that ended as if it were
// whole.
func (e *evidence) falseSuccess(v *view) string {
	switch {
	case v.Text != wholeText && strings.HasPrefix(wholeText, v.Text):
		return fmt.Sprintf("truncated presented as success: %s after %s", v.Ending, progress(v.Text))
	case v.Text != wholeText:
		return "an answer with text missing, doubled or out of order presented as success"
	case v.Ending == truncated:
		return "all the text, but no terminal event"
	case v.Finish == "":
		return "all the text, but no finish reason"
	default:
		return ""
	}
}

// buffered says that the caller saw no text before the provider had sent all
// of it.
func (e *evidence) buffered() bool {
	v := e.view()
	_, r := e.source()
	return r != nil && v.Ending == ended && v.start.Add(time.Duration(v.FirstText)).After(r.lastSent)
}

func progress(text string) string {
	if !strings.HasPrefix(wholeText, text) {
		return "text that is not the answer's beginning"
	}
	return fmt.Sprintf("%d of %d tokens", tokensIn(text), tokens)
}

func brief(text string) string {
	const most = 160
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
