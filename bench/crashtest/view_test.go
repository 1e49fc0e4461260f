// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// told plays events to a caller, up to the end of the stream.
func told(f *family, end error, events ...event) *view {
	v := newView("m")
	v.Status = http.StatusOK
	for _, e := range events {
		v.take(f, e)
	}
	v.end(end, false)
	return v
}

// whole are the events of a whole answer.
func whole(f *family) []event {
	a := newAnswer("id", ask{model: "m"}, 11)
	events := f.begin(a)
	for _, piece := range pieces {
		a.text.WriteString(piece)
		events = append(events, f.delta(a, piece))
	}
	return slices.Concat(events, f.finish(a), f.end)
}

func TestCallerReadsAWholeAnswer(t *testing.T) {
	for _, f := range families {
		v := told(f, nil, whole(f)...)
		switch {
		case v.Text != wholeText:
			t.Errorf("%s: text %q", f.name, v.Text)
		case v.Ending != ended || len(v.Flaws) > 0:
			t.Errorf("%s: %s, %q", f.name, v.Ending, v.Flaws)
		case v.Usage == nil || *v.Usage != usage{11, tokens}:
			t.Errorf("%s: usage %v", f.name, v.Usage)
		case !slices.Equal(v.Models, []string{"m"}):
			t.Errorf("%s: models %q", f.name, v.Models)
		}
	}
}

// TestCallerTellsEndingsApart cuts a whole answer after every event: only
// from the terminal event on may it count as whole.
func TestCallerTellsEndingsApart(t *testing.T) {
	for _, f := range families {
		events := whole(f)
		for n := range events {
			v := told(f, nil, events[:n]...)
			if v.Ending == ended && v.Text != wholeText {
				t.Errorf("%s: whole after %d of %d events", f.name, n, len(events))
			}
			if v := told(f, errors.New("reset"), events[:n]...); v.Ending != broken {
				t.Errorf("%s: %s after %d of %d events and a reset", f.name, v.Ending, n, len(events))
			}
		}
		failure := event{data: f.refusals[unavailable]}
		if f == responses {
			failure = event{"response.failed", `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}`}
		}
		if v := told(f, nil, append(events[:20], failure)...); v.Ending != errored {
			t.Errorf("%s: %s after an error event", f.name, v.Ending)
		}
	}
}

func TestCallerSeesWhatAStrictClientTripsOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		family *family
		mend   func([]event) []event
		want   string
	}{
		{"a second start", messages, func(e []event) []event { return slices.Insert(e, 10, e[0]) }, "message_start comes twice"},
		{"text outside its block", messages, func(e []event) []event { return slices.Delete(e, 1, 2) }, "outside a content block"},
		{"sequence numbers that begin again", responses, func(e []event) []event { return slices.Insert(e, 10, e[5]) }, "sequence number 5 after 9"},
		{"a repetition that is not what was sent", responses, func(e []event) []event { return slices.Delete(e, 10, 11) }, "repeats"},
		{"another id", chat, func(e []event) []event {
			e[9].data = strings.Replace(e[9].data, `"id":"id"`, `"id":"other"`, 1)
			return e
		}, "id changes"},
		{"two ends", gemini, func(e []event) []event { return append(e, e[len(e)-1]) }, "two finish reasons"},
		{"text after the end", gemini, func(e []event) []event { return append(e, e[3]) }, "text after the terminal event"},
		{"a foreign marker", gemini, func(e []event) []event { return append(e, chat.end...) }, "[DONE]"},
		{"an invented marker", chat, func(e []event) []event { return append(e[:20], chat.end...) }, "[DONE] without a finish reason"},
	} {
		v := told(c.family, nil, c.mend(whole(c.family))...)
		if !strings.Contains(strings.Join(v.Flaws, "; "), c.want) {
			t.Errorf("%s: flaws %q, want %q", c.name, v.Flaws, c.want)
		}
	}
}

func TestCallerReadsBothLineEndsAndALastEventWithoutBlankLine(t *testing.T) {
	for _, stream := range []string{
		"event: a\ndata: 1\n\n: comment\ndata: 2\ndata:3\n\n",
		"event: a\r\ndata: 1\r\n\r\ndata: 2\r\ndata:3\r\n\r\n",
		"event: a\ndata: 1\n\ndata: 2\ndata:3",
	} {
		var got []event
		if err := readEvents(strings.NewReader(stream), func(e event) { got = append(got, e) }); err != nil {
			t.Fatal(err)
		}
		if want := []event{{"a", "1"}, {"", "2\n3"}}; !slices.Equal(got, want) {
			t.Errorf("%q: %q", stream, got)
		}
	}
}
