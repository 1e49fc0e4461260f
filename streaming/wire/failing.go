// SPDX-License-Identifier: Apache-2.0

package wire

// Failing tells whether the event that is going by is an error, as far as it
// has come. A line that is no field of a stream may be one.
func (s *Scanner) Failing() bool {
	if s.facts.failed || s.facts.mishap || len(s.stray) > 0 || s.frame != nil && s.frame.exception {
		return true
	}
	at := s.json.Within()
	if at == factError || at == factMishap || s.complains() {
		return true
	}
	name := s.events.Name()

	return len(name) > 0 && (string(name) == "error" || is(s.facts.dialect.fails, name))
}

// complains tells whether the event that is going by has or begins a complaint,
// and says nothing else so far.
func (s *Scanner) complains() bool {
	return s.framing == eventStream && !s.facts.known && (s.facts.complaint || s.json.Within() == factComplaint)
}

// Faults returns how many events before that were errors.
func (s *Scanner) Faults() int { return s.faults }

// Torn tells whether a stream of server-sent events has ended in the middle of
// what an event says.
func (s *Scanner) Torn() bool { return s.torn }

// Whole returns how many bytes of a stream were whole events, and what stands
// between them, before the first event that is an error.
func (s *Scanner) Whole() int64 {
	if s.failure == nil && !s.torn && len(s.stray) == 0 && s.events.Between() {
		return s.lead + s.events.Offset()
	}

	return s.whole
}
