// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strconv"

	"github.com/seed83435595/caddy-llm-proxy/streaming/eventstream"
	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// frameReader reads the frames of an AWS event stream.
type frameReader struct {
	frames  eventstream.Scanner
	wrapped unwrapper
	// name is that of the current frame, which is an exception or an event.
	name      word
	exception bool
}

// frameVisitor visits the frames of an AWS event stream.
type frameVisitor struct{ s *Scanner }

// Header takes what a frame is: an event by its type, or an exception or error
// by its name.
func (v frameVisitor) Header(name, value []byte) {
	switch string(name) {
	case ":event-type":
		v.s.frame.name.set(jsonscan.Value{Raw: value})
	case ":exception-type", ":error-code":
		v.s.frame.name.set(jsonscan.Value{Raw: value})
		v.s.frame.exception = true
	case ":error-message":
		v.s.text = strconv.AppendQuote(append(v.s.text[:0], `{"message":`...), string(value))
		v.s.text = append(v.s.text, '}')
	}
}

// Payload takes a piece of an event's JSON. Only what a model has generated
// is wrapped.
func (v frameVisitor) Payload(p []byte) {
	s := v.s
	wrapped := s.facts.dialect.wrapped && !s.frame.exception
	if !s.inEvent {
		s.inEvent = true
		s.json.Reset(s.facts.dialect.values, factVisitor{s})
		if wrapped {
			s.frame.wrapped.begin(s)
		}
	}
	if wrapped {
		s.frame.wrapped.json.Write(p)

		return
	}
	s.text = keep(s.text, p)
	s.json.Write(p)
}

// Frame takes the end of a frame.
func (v frameVisitor) Frame() {
	s := v.s
	if s.inEvent {
		s.json.End()
	}
	s.inEvent = false
	name := s.frame.name.raw()
	if !s.facts.typed {
		s.facts.kind(name)
	}
	if s.frame.exception {
		s.facts.failed = true
		if s.failure == nil {
			s.failure = namedError(name, s.text)
		}
	}
	s.frame.name.clear()
	s.frame.exception = false
	s.endEvent()
}

// namedError writes an exception the way AWS writes errors where no header
// names them, given its JSON object.
func namedError(name, object []byte) []byte {
	failure := strconv.AppendQuote([]byte(`{"__type":`), string(name))
	fields := bytes.TrimPrefix(bytes.TrimSpace(object), []byte("{"))
	if fields = bytes.TrimSpace(fields); len(fields) == 0 {
		fields = []byte("}")
	}
	if fields[0] != '}' {
		failure = append(failure, ',')
	}

	return append(failure, fields...)
}
