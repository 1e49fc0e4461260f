// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// factVisitor visits the JSON of an answer or event.
type factVisitor struct{ s *Scanner }

func (v factVisitor) Value(id jsonscan.ID, value jsonscan.Value) { v.s.facts.value(id, value) }

func (v factVisitor) Open(id jsonscan.ID, kind jsonscan.Kind) { v.s.facts.open(id, kind) }

func (v factVisitor) Close(id jsonscan.ID) {
	v.s.facts.close(id)
	if id == factEvent && v.s.framing != eventStream && v.s.framing != frames {
		v.s.endObject()
	}
}

// endObject takes the end of an event that is a JSON object of its own.
func (s *Scanner) endObject() {
	end := int(s.json.Offset() - s.base)
	s.text = keep(s.text, s.piece[s.done:end])
	s.done = end
	s.endEvent()
}

// eventVisitor visits the events of a stream.
type eventVisitor struct{ s *Scanner }

func (v eventVisitor) Data(p []byte) {
	s := v.s
	if !s.inEvent {
		s.inEvent = true
		s.json.Reset(s.facts.dialect.values, factVisitor{s})
	}
	s.text = keep(s.text, p)
	s.json.Write(p)
}

var doneMarker = []byte("[DONE]")

func (v eventVisitor) Event(name []byte, end int64) {
	s := v.s
	text := bytes.TrimSpace(s.text)
	if s.inEvent {
		s.json.End()
		s.facts.cut = bytes.HasPrefix(text, []byte("{")) && !s.json.Complete() && !s.json.Broken()
	}
	s.inEvent = false
	done := bytes.Equal(text, doneMarker)
	s.facts.ended = s.facts.ended || done
	s.half = s.facts.cut || !done && len(text) > 0 && bytes.HasPrefix(doneMarker, text)
	if !s.facts.typed {
		s.facts.kind(name)
	}
	s.facts.failed = s.facts.failed || string(name) == "error"
	if s.facts.failed && len(text) == 0 {
		s.text = append(s.text, name...)
	}
	s.endEvent()
	s.endStray()
	if s.failure == nil {
		s.whole = s.lead + end
	}
}

// Field takes what is neither data nor a name. llama.cpp sends errors in a
// field of that name, and Google as bare JSON behind the events.
func (v eventVisitor) Field(name, p []byte) {
	if isError := string(name) == "error"; isError || len(name) == 0 {
		v.s.stray = keep(v.s.stray, p)
		v.s.strayFails = v.s.strayFails || isError
	}
}

func (v eventVisitor) Comment() {}

// strayErrors are where an error that is no event stands.
var strayErrors = jsonscan.Compile(map[string]jsonscan.ID{"error": factError, "*.error": factError})

// endStray looks at what stood between two events.
func (s *Scanner) endStray() {
	if len(s.stray) == 0 {
		return
	}
	s.json.Reset(strayErrors, factVisitor{s})
	s.json.Write(s.stray)
	if s.facts.failed || s.strayFails {
		s.faults++
		s.broke = s.broke || !s.Final()
		if s.failure == nil {
			s.failure = bytes.Clone(bytes.TrimSpace(s.stray))
		}
	}
	s.facts.failed, s.strayFails = false, false
	s.stray = s.stray[:0]
}
