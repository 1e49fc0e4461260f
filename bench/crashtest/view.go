// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// ending is how an answer ended, as the caller saw it.
type ending string

// The ways an answer can end.
const (
	// ended: with the family's own terminal signal.
	ended ending = "terminal event"
	// errored: with an error event inside the stream.
	errored ending = "error event"
	// truncated: politely, but without a terminal signal. Many SDKs take
	// that for success.
	truncated ending = "clean end without terminal event"
	// broken: the connection broke, so that any client notices.
	broken ending = "broken connection"
	// refused: with an error status and no stream.
	refused ending = "error status"
	// unanswered: the connection broke before there was a status.
	unanswered ending = "no answer"
	// hung: not within the bound; the caller gave up.
	hung ending = "hung"
)

// span is a length of time that reports show in milliseconds.
type span time.Duration

// MarshalJSON writes milliseconds.
func (s span) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(s)/float64(time.Millisecond), 'f', 1, 64), nil
}

func (s span) String() string {
	return strconv.FormatFloat(time.Duration(s).Seconds(), 'f', 2, 64) + " s"
}

// view is one call as the caller saw it.
type view struct {
	Model  string      `json:"model"`
	Status int         `json:"status,omitempty"`
	Header http.Header `json:"header,omitempty"`
	// Body is an error answer's body.
	Body   string `json:"body,omitempty"`
	Events []seen `json:"events,omitempty"`
	Text   string `json:"text"`
	// FirstText is when the first text came; zero if none did.
	FirstText span     `json:"first_text_ms"`
	Took      span     `json:"took_ms"`
	Finish    string   `json:"finish,omitempty"`
	Usage     *usage   `json:"usage,omitempty"`
	Models    []string `json:"models,omitempty"`
	// Error is the error event.
	Error string `json:"error,omitempty"`
	// Failure is what the connection said when it broke.
	Failure string `json:"failure,omitempty"`
	Ending  ending `json:"ending"`
	// Flaws are breaches of the format that a strict client could trip over.
	Flaws []string `json:"flaws,omitempty"`

	start time.Time
	// terminal says that the family's terminal signal was seen, closed that
	// nothing may follow any more.
	terminal, closed bool
	sequence         int
	counts           map[string]int
	first, parts     map[string]string
}

// seen is an event with its time of arrival.
type seen struct {
	At   span   `json:"at_ms"`
	Name string `json:"name,omitempty"`
	Data string `json:"data"`
}

func newView(model string) *view {
	return &view{
		Model: model, start: time.Now(), sequence: -1,
		counts: map[string]int{}, first: map[string]string{}, parts: map[string]string{},
	}
}

// take records an event and has the family read it.
func (v *view) take(f *family, e event) {
	v.Events = append(v.Events, seen{v.now(), e.name, e.data})
	if v.closed {
		v.flaw("events after the end")
	}
	f.read(v, e)
}

func (v *view) now() span { return span(time.Since(v.start)) }

// flaw notes a breach of the format, each kind once.
func (v *view) flaw(text string) {
	if !slices.Contains(v.Flaws, text) {
		v.Flaws = append(v.Flaws, text)
	}
}

// decode reads an event's JSON. What is no JSON is left out, as a forgiving
// client does.
func (v *view) decode(e event, into any) bool { return json.Unmarshal([]byte(e.data), into) == nil }

// failed notes an error event if there is an error in it. Only the first
// counts: some formats report one failure twice.
func (v *view) failed(e event, err json.RawMessage) bool {
	if len(err) == 0 || string(err) == "null" {
		return false
	}
	if v.Error == "" {
		v.Error = e.data
	}
	return true
}

// add takes in text.
func (v *view) add(text string) {
	if text == "" {
		return
	}
	if v.Text == "" {
		v.FirstText = v.now()
	}
	if v.terminal {
		v.flaw("text after the terminal event")
	}
	v.Text += text
}

// finish takes in the reason for the end.
func (v *view) finish(reason string) {
	if reason == "" {
		return
	}
	if v.Finish != "" {
		v.flaw("two finish reasons")
	}
	v.Finish = reason
}

// done takes in chat's end marker.
func (v *view) done() {
	if !v.terminal {
		v.flaw("[DONE] without a finish reason")
	}
	v.closed = true
}

// identify takes in what the answer says of itself.
func (v *view) identify(id, model string) {
	v.same("id", id)
	if model != "" && !slices.Contains(v.Models, model) {
		v.Models = append(v.Models, model)
	}
}

// same checks that something does not change in the middle of an answer.
func (v *view) same(what, value string) {
	if value == "" {
		return
	}
	if was, ok := v.first[what]; ok && was != value {
		v.flaw(what + " changes in the middle")
		return
	}
	v.first[what] = value
}

// once checks that an event does not come twice.
func (v *view) once(kind string) {
	v.counts[kind]++
	if v.counts[kind] > 1 {
		v.flaw(kind + " comes twice")
	}
}

// repeats checks an event that says again what was sent in pieces.
func (v *view) repeats(kind, text, sent string) {
	if text != sent {
		v.flaw(fmt.Sprintf("%s repeats %d bytes of text, %d were sent", kind, len(text), len(sent)))
	}
}

// end decides how the answer ended; err is why reading stopped, nil for a
// clean end, and gaveUp that it was the caller who stopped.
func (v *view) end(err error, gaveUp bool) {
	v.Took = v.now()
	if err != nil {
		v.Failure = err.Error()
	}
	switch {
	case gaveUp:
		v.Ending = hung
	case v.Status == 0:
		v.Ending = unanswered
	case v.Status != http.StatusOK:
		v.Ending = refused
	case v.Error != "":
		v.Ending = errored
	case err != nil && v.closed:
		v.flaw("the connection breaks after the end")
		v.Ending = ended
	case err != nil:
		v.Ending = broken
	case v.terminal:
		v.Ending = ended
	default:
		v.Ending = truncated
	}
}
