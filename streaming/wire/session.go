// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// NewSessionScanner returns a scanner for what the provider sends in a
// session of the operation op over a WebSocket. Each message is written, in
// pieces of any size, and then ended by EndMessage. The usage adds up over the
// turns; see also [Scanner.Mishap] and [Scanner.GuessTurn].
func NewSessionScanner(op *Operation) *Scanner {
	s := scanners.Get().(*Scanner)
	s.facts.dialect = op.Dialect
	s.firstOutput = -1
	if op.Dialect != nil {
		s.framing = lines
		s.json.Reset(op.Dialect.values, factVisitor{s})
	} else {
		s.framing = opaque
	}

	return s
}

// readLines takes a piece of JSON objects in a row. What is no JSON costs its
// own line only.
func (s *Scanner) readLines(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		if end == 0 {
			s.read(p)

			return
		}
		s.read(p[:end])
		p = p[end:]
		if s.json.Broken() {
			s.EndMessage()
		}
	}
}

// EndMessage says that a message of a session has ended. What is left of it
// that is no whole JSON is forgotten.
func (s *Scanner) EndMessage() {
	if s.framing != lines || s.json.Between() {
		return
	}
	s.endEvent()
	s.json.Reset(s.facts.dialect.values, factVisitor{s})
}

// endTurn takes an event that settles a turn or reports an error.
func (s *Scanner) endTurn() {
	if s.facts.settled {
		s.facts.generated, s.facts.outputs, s.mishap = 0, 0, nil
	}
	if s.facts.mishap {
		s.mishap = bytes.Clone(bytes.TrimSpace(s.text))
	}
	s.facts.settled, s.facts.mishap = false, false
}

// Mishap returns the last error that the provider has reported in a session
// that went on, of which at most 32 KiB; nil if there was none, or if a turn
// has gone well since.
func (s *Scanner) Mishap() []byte { return s.mishap }

// GuessTurn counts the turn that was going by when a session ended, and has
// not stated its usage: each event that generated something is about a token.
func (s *Scanner) GuessTurn() {
	if s.facts.outputs == 0 {
		return
	}
	s.facts.earlier.add(s.facts.usage)
	s.facts.usage = Usage{}
	s.facts.usage.state(factOutputTokens, int64(s.facts.outputs))
	s.guessed = true
}

// Setup reads along what the client of a session sends until its first message
// has named the model, for sessions whose handshake does not.
type Setup struct {
	json  jsonscan.Scanner
	model string
	over  bool
}

// NewSetup returns what reads the client's first message in a session of the
// operation op; nil if the handshake has said it all.
func NewSetup(op *Operation) *Setup {
	if op.Dialect == nil || op.Dialect.setup == nil {
		return nil
	}
	s := new(Setup)
	s.json.Reset(op.Dialect.setup, setupVisitor{s})

	return s
}

// Write takes the next piece of a message.
func (s *Setup) Write(p []byte) {
	if !s.over {
		s.json.Write(p)
	}
}

// EndMessage says that a message has ended.
func (s *Setup) EndMessage() { s.over = true }

// Model returns the model that was named, without the collections that it is
// in; empty if none was.
func (s *Setup) Model() string { return s.model }

// setupVisitor takes what a dialect's setup leads to.
type setupVisitor struct{ s *Setup }

func (v setupVisitor) Value(_ jsonscan.ID, value jsonscan.Value) {
	if value.Kind != jsonscan.String || value.Truncated {
		return
	}
	model := value.Text()
	if i := strings.LastIndex(model, "models/"); i >= 0 {
		model = model[i+len("models/"):]
	}
	if checkModel(model) != nil {
		model = ""
	}
	v.s.model = model
}

func (setupVisitor) Open(jsonscan.ID, jsonscan.Kind) {}

func (setupVisitor) Close(jsonscan.ID) {}
