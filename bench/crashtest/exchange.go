// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// record is one request as the provider saw it.
type record struct {
	// At is when it came, counted from the first request of its scenario.
	At     span   `json:"at_ms"`
	Model  string `json:"model"`
	Key    string `json:"key,omitempty"`
	Stream bool   `json:"stream"`
	// Prefill is the assistant's unfinished message at its end.
	Prefill string `json:"prefill,omitempty"`
	Answer  string `json:"answer"`
	// Gone says that the gateway closed the connection before the answer was
	// over.
	Gone bool `json:"gone,omitempty"`

	lastSent       time.Time
	usage          usage
	whole, settled bool
}

// exchange is one request that a scenario's script answers.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	f    *family
	pace pace
	ask  ask
	// n is the request's number among those to the same model, from 1.
	n int
	// since is how long the scenario has been played already.
	since time.Duration

	record *record
	answer *answer
}

// refuse answers with an error.
func (e *exchange) refuse(r refusal) {
	e.record.Answer = strconv.Itoa(r.status())
	e.w.Header().Set("Content-Type", "application/json")
	e.w.WriteHeader(r.status())
	_, _ = io.WriteString(e.w, e.f.refusals[r])
}

// refuseFor answers 429 and says for how long. HTTP counts whole seconds; when
// times are scaled down, fractions are told in the two ways that SDKs read.
func (e *exchange) refuseFor(wait time.Duration) {
	seconds := strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)
	e.w.Header().Set("Retry-After", seconds)
	if wait%time.Second != 0 {
		e.w.Header().Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10))
	}
	e.refuse(rateLimited)
}

// begin sends the headers and what comes before any text.
func (e *exchange) begin() {
	e.w.Header().Set("Content-Type", "text/event-stream")
	e.w.WriteHeader(http.StatusOK)
	e.send(e.f.begin(e.answer)...)
	e.flush()
}

// tell sends the text up to a piece, each piece at its time, and says whether
// the gateway is still there. A piece that is late does not delay those after
// it: on a busy machine that would add up.
func (e *exchange) tell(end int) bool {
	due := time.Now()
	for _, text := range e.answer.pieces(end) {
		due = due.Add(e.pace.of(pieceEvery))
		if !e.wait(time.Until(due)) {
			return false
		}
		e.answer.text.WriteString(text)
		e.answer.skip += len(text)
		e.send(e.f.delta(e.answer, text))
	}
	e.record.Answer = fmt.Sprintf("%d of %d tokens", end, tokens)
	return true
}

// finish sends the rest of a whole answer.
func (e *exchange) finish(end ...event) {
	if !e.tell(tokens) {
		return
	}
	e.send(e.f.finish(e.answer)...)
	e.send(end...)
	e.record.Answer, e.record.whole = "whole", true
}

// all gives a whole answer.
func (e *exchange) all() {
	e.begin()
	e.finish(e.f.end...)
}

// cut breaks the connection off.
func (e *exchange) cut() {
	e.record.Answer += ", cut"
	panic(http.ErrAbortHandler)
}

// reset breaks the connection off before anything was answered, with a TCP
// reset where that can be had.
func (e *exchange) reset() {
	e.record.Answer = "reset"
	conn, _, err := http.NewResponseController(e.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// silent says nothing for a while and says whether the gateway waited.
func (e *exchange) silent(d time.Duration) bool {
	e.record.Answer += ", silent"
	return e.wait(e.pace.of(d))
}

// wait lets time pass and says whether the gateway is still there after it.
func (e *exchange) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.r.Context().Done():
		e.record.Gone = true
		return false
	}
}

func (e *exchange) send(events ...event) {
	for _, event := range events {
		if _, err := e.w.Write(event.bytes(e.f.eol)); err != nil {
			e.record.Gone = true
			return
		}
	}
	e.flush()
	e.record.lastSent = time.Now()
}

func (e *exchange) flush() { _ = http.NewResponseController(e.w).Flush() }
