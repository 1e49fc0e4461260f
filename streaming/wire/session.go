// SPDX-License-Identifier: Apache-2.0

package wire

import "bytes"

// NewSessionScanner returns a scanner for what the provider sends in a
// session of the operation op over a WebSocket. Each message is written, in
// pieces of any size, and then ended by EndMessage. The usage adds up over the
// turns.
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
