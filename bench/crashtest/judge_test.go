// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// requests are requests at these times, each but the last refused.
func requests(role string, seconds ...float64) []record {
	var all []record
	for i, at := range seconds {
		all = append(all, record{
			At: span(at * float64(time.Second)), Model: role, usage: usage{tally[role], tokens},
			lastSent: time.Now(), whole: i == len(seconds)-1,
		})
	}
	return all
}

// refusedOnly are requests of which none was answered.
func refusedOnly(seconds ...float64) []record {
	all := requests(primary, seconds...)
	for i := range all {
		all[i].whole = false
	}
	return all
}

// answered is a call that got a whole answer, changed by mend.
func answered(mend ...func(*view)) *view {
	v := told(chat, nil, whole(chat)...)
	v.Models = []string{fallback}
	v.Usage = &usage{tally[fallback], tokens}
	for _, m := range mend {
		m(v)
	}
	return v
}

func status(code int, body string) func(*view) {
	return func(v *view) { *v = view{Status: code, Body: body, Ending: refused} }
}

// again is a number of requests at the same time.
func again(n int, at float64) []float64 { return slices.Repeat([]float64{at}, n) }

func TestJudge(t *testing.T) {
	once := requests(fallback, 1)
	for _, c := range []struct {
		scenario          int
		name              string
		primary, fallback []record
		view              *view
		want              verdict
	}{
		{1, "waits", requests(primary, 0, 2.01), nil, answered(), pass},
		{1, "comes too early", requests(primary, 0, 1, 2.5), nil, answered(), partial},
		{1, "does not wait", refusedOnly(0), once, answered(), partial},
		{1, "passes the 429 on", refusedOnly(0), nil, answered(status(429, "")), fail},
		{2, "tries at its leisure", refusedOnly(0, 1, 2, 3, 5, 9), once, answered(), pass},
		{2, "hurries", refusedOnly(0, 1, 1.5, 2, 2.5), once, answered(), partial},
		{2, "tries too often", refusedOnly(0, 1, 2, 3, 4, 5, 6), once, answered(), partial},
		{2, "hammers", refusedOnly(again(13, 4)...), once, answered(), fail},
		{3, "tries again", requests(primary, 0, 1), nil, answered(), pass},
		{3, "goes elsewhere", refusedOnly(0), once, answered(), partial},
		{4, "retries twice", refusedOnly(0, 1, 2), once, answered(), pass},
		{4, "retries too often", refusedOnly(0, 1, 2, 3), once, answered(), partial},
		{4, "hammers", refusedOnly(again(7, 0)...), once, answered(), fail},
		{6, "leaves the silent route", refusedOnly(0), once, answered(), pass},
		{6, "asks it again", refusedOnly(0, 30), once, answered(), partial},
		{6, "takes too long", refusedOnly(0), once, answered(func(v *view) { v.FirstText = span(41 * time.Second) }), partial},
		{6, "gives up in time", refusedOnly(0), nil, answered(status(504, "")), partial},
		{7, "leaves the slow route", refusedOnly(0), once, answered(), pass},
		{7, "waits for it", requests(primary, 0), nil, answered(), partial},
		{7, "asks it again", refusedOnly(0, 5), once, answered(), partial},
		{8, "is told an error", refusedOnly(0), nil, answered(func(v *view) { v.Ending, v.Text = errored, wholeText[:40] }), safe},
		{8, "is told an error after doubled text", refusedOnly(0), nil, answered(func(v *view) { v.Ending, v.Text = errored, pieces[0]+pieces[0] }), fail},
		{8, "is given doubled text", refusedOnly(0), once, answered(func(v *view) { v.Text = wholeText[:40] + wholeText }), fail},
		{8, "is given doubled events", refusedOnly(0), once, answered(func(v *view) { v.flaw("two starts") }), partial},
		{8, "waits for ever", refusedOnly(0), nil, answered(func(v *view) { v.Ending, v.Text = hung, "w00" }), fail},
		{10, "lets it pass", requests(primary, 0), nil, answered(), pass},
		{10, "stops at it", requests(primary, 0), nil, answered(func(v *view) { v.Ending, v.Text = broken, "w00" }), fail},
		{10, "begins anew", refusedOnly(0), once, answered(), partial},
		{11, "ends", nil, requests(fallback, 0), answered(), partial},
		{11, "loses usage", requests(primary, 0), nil, answered(func(v *view) { v.Usage = nil }), partial},
		{11, "waits for more", requests(primary, 0), nil, answered(ofPrimary, func(v *view) { v.Took = span(3 * time.Second) }), partial},
		{11, "ends at once", requests(primary, 0), nil, answered(ofPrimary), pass},
		{12, "goes to the larger model", refusedOnly(0), once, answered(), pass},
		{12, "passes the refusal on", refusedOnly(0), nil, answered(status(400, contextMark)), pass},
		{12, "tries again", refusedOnly(0, 1), once, answered(), fail},
		{12, "hides the refusal", refusedOnly(0), nil, answered(status(502, contextMark)), fail},
		{13, "passes the refusal on", refusedOnly(0), nil, answered(status(400, filterMark)), pass},
		{13, "tries again", refusedOnly(0, 1), nil, answered(status(400, filterMark)), partial},
		{13, "rewords the refusal", refusedOnly(0), nil, answered(status(400, "no")), fail},
		{13, "shops around", refusedOnly(0), once, answered(), fail},
		{14, "is told an error", refusedOnly(0), refusedOnly(1), answered(func(v *view) { v.Ending, v.Text, v.Error = errored, wholeText[:40], "cut" }), safe},
		{14, "is told of the prefill", refusedOnly(0), refusedOnly(1), answered(func(v *view) { v.Ending, v.Text, v.Error = errored, wholeText[:40], prefillMark }), fail},
		{16, "says who answered", refusedOnly(0), once, answered(), pass},
		{16, "keeps the asked name", refusedOnly(0), once, answered(func(v *view) { v.Models = []string{primary} }), partial},
		{16, "counts wrong", refusedOnly(0), once, answered(ofPrimary), partial},
	} {
		e := &evidence{f: chat, pace: full, Primary: c.primary, Fallback: c.fallback, Views: []*view{c.view}}
		if got := scenarios[c.scenario-1].judge(e); got.Verdict != c.want {
			t.Errorf("%d, a gateway that %s: %s: %s, want %s", c.scenario, c.name, got.Verdict, got.Reason, c.want)
		}
	}
}

func ofPrimary(v *view) { v.Usage = &usage{tally[primary], tokens} }

func TestJudgeOfTheOutage(t *testing.T) {
	lost := answered(status(503, ""))
	for _, c := range []struct {
		name    string
		primary []record
		calls   []*view
		want    verdict
	}{
		{"notices and returns", requests(primary, 0, 1, 2, 20, 40, 64), []*view{answered(), answered()}, pass},
		{"probes with every call", requests(primary, append(again(15, 5), 64)...), []*view{answered()}, partial},
		{"returns late", requests(primary, 0, 77), []*view{answered()}, partial},
		{"does not return", refusedOnly(0, 64), []*view{answered()}, partial},
		{"loses a call", requests(primary, 0, 64), []*view{answered(), lost}, fail},
	} {
		e := &evidence{f: chat, pace: full, Primary: c.primary, Fallback: requests(fallback, 1), Views: c.calls}
		if got := judgeOutage(e); got.Verdict != c.want {
			t.Errorf("a gateway that %s: %s: %s, want %s", c.name, got.Verdict, got.Reason, c.want)
		}
	}
}

func TestReportCountsAndKeepsTheEvidence(t *testing.T) {
	r := &report{families: []*family{chat}}
	for i, s := range scenarios {
		v := pass
		switch i {
		case 0:
			v = fail
		case 1, 2:
			v = safe
		case 3:
			v = partial
		}
		r.Results = append(r.Results, &result{
			Scenario: s.number, Family: chat.name, finding: finding{v, "why"},
			Evidence: &evidence{Primary: requests(primary, 1.5), Views: []*view{answered()}},
		})
	}
	if got, want := r.summary(chat), "chat 12/16, safe 2, partial 1, fail 1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"verdict":"fail"`, `"reason":"why"`, `"at_ms":1500.0`, `"ending":"terminal event"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the JSON report does not hold %s", want)
		}
	}
}
