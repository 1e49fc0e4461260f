// SPDX-License-Identifier: Apache-2.0

package jsonscan

// step takes one byte that stands between scalars. It is p[i] of the piece.
func (s *Scanner) step(c byte, i int) {
	switch s.state {
	case atRoot, atValue:
		s.begin(c, i)
	case atFirst:
		if c == ']' {
			s.close(false)
		} else {
			s.begin(c, i)
		}
	case atFirstKey, atKey:
		switch {
		case c == '"':
			s.next = none
			s.keep(inKey, i+1)
			s.wanted = s.node() != none && len(s.paths.nodes[s.node()].members) > 0
		case c == '}' && s.state == atFirstKey:
			s.close(true)
		default:
			s.state = broken
		}
	case atColon:
		s.state = atValue
		if c != ':' {
			s.state = broken
		}
	case atNext:
		switch {
		case c == '}' || c == ']':
			s.close(c == '}')
		case c != ',':
			s.state = broken
		case s.inObject():
			s.state = atKey
		default:
			s.state = atValue
			s.next = s.element()
		}
	}
}

// begin takes the first byte of a value.
func (s *Scanner) begin(c byte, i int) {
	switch {
	case c == '{':
		s.push(Object)
	case c == '[':
		s.push(Array)
	case c == '"':
		s.keep(inString, i+1)
		s.start--
		if s.wanted && s.paths.nodes[s.next].pieces {
			s.pieces = s.visitor.(PieceVisitor)
		}
	case c == '-' || isDigit(c) || c == 't' || c == 'f' || c == 'n':
		s.keep(inWord, i)
		s.literal = c >= 'f'
	default:
		s.state = broken
	}
}

// keep begins a key or scalar, whose text begins at p[i] of the piece.
func (s *Scanner) keep(in state, i int) {
	s.state = in
	s.start = s.offset + int64(i)
	s.wanted = s.id(s.next) != 0
	s.escaping, s.truncated, s.length = false, false, 0
}

// id returns the id of a node, or zero.
func (s *Scanner) id(at int16) ID {
	if at == none {
		return 0
	}

	return s.paths.nodes[at].id
}

// node returns the node of the innermost object or array.
func (s *Scanner) node() int16 {
	if s.matched < s.depth {
		return none
	}

	return s.nodes[s.depth]
}

// element returns the node of the innermost array's elements.
func (s *Scanner) element() int16 {
	if at := s.node(); at != none {
		return s.paths.nodes[at].element
	}

	return none
}

func (s *Scanner) inObject() bool {
	return s.objects[s.depth>>6]&(1<<(s.depth&63)) != 0
}

// push opens an object or array.
func (s *Scanner) push(kind Kind) {
	if s.depth == maxDepth {
		s.state = broken

		return
	}
	onPath := s.next != none && s.matched == s.depth
	s.depth++
	if onPath {
		s.matched = s.depth
		s.nodes[s.depth] = s.next
	}
	id := s.id(s.next)
	if kind == Object {
		s.objects[s.depth>>6] |= 1 << (s.depth & 63)
		s.state = atFirstKey
	} else {
		s.objects[s.depth>>6] &^= 1 << (s.depth & 63)
		s.state = atFirst
		s.next = s.element()
	}
	if id != 0 {
		s.visitor.Open(id, kind)
	}
}

// close ends the innermost object or array.
func (s *Scanner) close(object bool) {
	if s.inObject() != object {
		s.state = broken

		return
	}
	id := s.id(s.node())
	s.depth--
	s.matched = min(s.matched, s.depth)
	s.after()
	if id != 0 {
		s.visitor.Close(id)
	}
}

// after says what may follow a value.
func (s *Scanner) after() {
	s.state = atNext
	if s.depth == 0 {
		s.state = atRoot
		s.next = 0
		s.roots++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
