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
	begun bool
}

// writeStream answers event by event, and lets the fault happen on the way.
func (c *call) writeStream(w http.ResponseWriter, f Fault) {
	s := stream{call: c, w: w, array: c.api.family.name == "gemini" && c.request.URL.Query().Get("alt") != "sse"}
	s.begin()
	sent := 0
	for i, e := range c.api.events(c) {
		if e.kind == content {
			if !s.pause(sent, f) {
				return
			}
			if s.strike(f, sent) {
				return
			}
			sent++
		}
		if e.kind >= closing && (f.Name == FaultCut || f.Name == FaultStall || f.Name == FaultErrorEvent) && s.strike(f, f.Count) {
			return
		}
		if e.kind == terminator && f.Name == FaultNoTerminator {
			continue
		}
		if f.Name == FaultMalformed && i == f.Count {
			e.data = e.data[:len(e.data)/2]
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

// strike lets a fault happen that is due after sent chunks. It reports whether
// the stream is over.
func (s *stream) strike(f Fault, sent int) bool {
	if sent != f.Count {
		return false
	}
	switch f.Name {
	case FaultCut:
		panic(http.ErrAbortHandler)
	case FaultStall:
		if !s.call.wait(f.Duration) {
			return true
		}
	case FaultErrorEvent:
		family := s.call.api.family
		s.write(family.errorEvent(family.errors[FaultOverloaded]))
		s.end()
		return true
	}
	return false
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

// write sends one event. Gemini without alt=sse sends the elements of one
// JSON array instead.
func (s *stream) write(e event) {
	line := "\n"
	if s.call.api.family.name == "gemini" {
		line = "\r\n"
	}
	text := "data: " + e.data + line + line
	if e.name != "" {
		text = "event: " + e.name + line + text
	}
	if s.array {
		text = ",\r\n" + e.data
		if !s.begun {
			text = "[" + e.data
		}
	}
	s.begun = true
	if s.call.pace.stamps {
		text = stamp(text, time.Now())
	}
	_, _ = io.WriteString(s.w, text)
	s.flush()
}

func (s *stream) end() {
	if s.array {
		if !s.begun {
			_, _ = io.WriteString(s.w, "[")
		}
		_, _ = io.WriteString(s.w, "]\n")
	}
}

func (s *stream) flush() { _ = http.NewResponseController(s.w).Flush() }
