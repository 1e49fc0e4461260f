// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"io"
	"net/http"
	"time"
)

// stream plays the events of an answer, with its pauses and its fault.
type stream struct {
	call *call
	to   sink
	// sent counts events of any kind.
	sent int
}

// sink is where events go: each is on its way as soon as it is written.
type sink interface {
	write(e event, first bool)
	// end takes the end of the events, in good order or behind an error.
	end()
	// cut breaks the connection.
	cut()
}

// writeStream answers event by event.
func (c *call) writeStream(w http.ResponseWriter, f Fault) {
	to := &bodySink{w: w, array: c.isArray(), lineEnd: c.api.family.lineEnd}
	to.begin()
	s := stream{call: c, to: to}
	s.play(c.api.events(c), f)
}

// play sends the events, and lets the fault happen on the way: before the
// chunk that follows f.Count others or, if there are fewer, before what closes
// the stream. It reports whether all went well.
func (s *stream) play(events []event, f Fault) bool {
	chunks, struck := 0, false
	for _, e := range events {
		if e.kind == content && !s.pause(chunks, f) {
			return false
		}
		if !struck && (e.kind >= closing || e.kind == content && chunks == f.Count) {
			struck = true
			if !s.strike(f, &e) {
				return false
			}
		}
		if e.kind == content {
			chunks++
		}
		if e.kind == terminator && f.Name == FaultNoTerminator {
			return true
		}
		s.write(e)
	}
	s.to.end()
	return true
}

// pause waits before chunk number sent.
func (s *stream) pause(sent int, f Fault) bool {
	wait := s.call.pace.delay
	if sent == 0 {
		wait = s.call.pace.firstToken
		if f.Name == FaultSlow {
			wait = f.Duration
		}
	}
	return wait == 0 || s.call.wait(wait)
}

// strike lets a fault happen that is due before e. It reports whether the
// stream goes on.
func (s *stream) strike(f Fault, e *event) bool {
	switch f.Name {
	case FaultCut:
		s.to.cut()
		return false
	case FaultStall:
		return s.call.wait(f.Duration)
	case FaultMalformed:
		e.data = e.data[:len(e.data)/2]
	case FaultErrorEvent:
		family := s.call.api.family
		for _, e := range family.errorEvents(s.call, family.errors[FaultOverloaded], s.sent) {
			s.write(e)
		}
		s.to.end()
		return false
	}
	return true
}

func (s *stream) write(e event) {
	if s.call.pace.stamps {
		e.data = stamp(e.data, time.Now())
	}
	s.to.write(e, s.sent == 0)
	s.sent++
}

// bodySink writes server-sent events, or the elements of an array, into the
// body of an answer.
type bodySink struct {
	w       http.ResponseWriter
	array   bool
	lineEnd string
}

func (b *bodySink) begin() {
	contentType := "text/event-stream; charset=utf-8"
	if b.array {
		contentType = "application/json; charset=UTF-8"
	}
	b.w.Header().Set("Content-Type", contentType)
	b.w.Header().Set("Cache-Control", "no-cache")
	b.w.WriteHeader(http.StatusOK)
	b.flush()
}

func (b *bodySink) write(e event, first bool) {
	line := b.lineEnd
	text := "data: " + e.data + line + line
	switch {
	case b.array && first:
		text = "[" + e.data
	case b.array:
		text = ",\r\n" + e.data
	case e.bare:
		text = e.data + line
	case e.name != "":
		text = "event: " + e.name + line + text
	}
	_, _ = io.WriteString(b.w, text)
	b.flush()
}

func (b *bodySink) end() {
	if b.array {
		_, _ = io.WriteString(b.w, "]\n")
	}
}

func (*bodySink) cut() { panic(http.ErrAbortHandler) }

func (b *bodySink) flush() { _ = http.NewResponseController(b.w).Flush() }
