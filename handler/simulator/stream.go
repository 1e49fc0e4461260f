// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"io"
	"net/http"
	"time"
)

// stream writes events, each as soon as it is there.
type stream struct {
	call  *call
	w     http.ResponseWriter
	array bool
	// sent counts events of any kind.
	sent int
}

// writeStream answers event by event, and lets the fault happen on the way:
// before the chunk that follows f.Count others or, if there are fewer, before
// what closes the stream.
func (c *call) writeStream(w http.ResponseWriter, f Fault) {
	s := stream{call: c, w: w, array: c.isArray()}
	s.begin()
	chunks, struck := 0, false
	for _, e := range c.api.events(c) {
		if e.kind == content && !s.pause(chunks, f) {
			return
		}
		if !struck && (e.kind >= closing || e.kind == content && chunks == f.Count) {
			struck = true
			if !s.strike(f, &e) {
				return
			}
		}
		if e.kind == content {
			chunks++
		}
		if e.kind == terminator && f.Name == FaultNoTerminator {
			return
		}
		s.write(e)
	}
	s.end()
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
		panic(http.ErrAbortHandler)
	case FaultStall:
		return s.call.wait(f.Duration)
	case FaultMalformed:
		e.data = e.data[:len(e.data)/2]
	case FaultErrorEvent:
		family := s.call.api.family
		for _, e := range family.errorEvents(s.call, family.errors[FaultOverloaded], s.sent) {
			s.write(e)
		}
		s.end()
		return false
	}
	return true
}

func (s *stream) begin() {
	contentType := "text/event-stream; charset=utf-8"
	if s.array {
		contentType = "application/json; charset=UTF-8"
	}
	s.w.Header().Set("Content-Type", contentType)
	s.w.Header().Set("Cache-Control", "no-cache")
	s.w.WriteHeader(http.StatusOK)
	s.flush()
}

// write sends one event, or one element of the array.
func (s *stream) write(e event) {
	line := s.call.api.family.lineEnd
	text := "data: " + e.data + line + line
	switch {
	case s.array && s.sent == 0:
		text = "[" + e.data
	case s.array:
		text = ",\r\n" + e.data
	case e.bare:
		text = e.data + line
	case e.name != "":
		text = "event: " + e.name + line + text
	}
	s.sent++
	if s.call.pace.stamps {
		text = stamp(text, time.Now())
	}
	_, _ = io.WriteString(s.w, text)
	s.flush()
}

func (s *stream) end() {
	if s.array {
		_, _ = io.WriteString(s.w, "]\n")
	}
}

func (s *stream) flush() { _ = http.NewResponseController(s.w).Flush() }
