// SPDX-License-Identifier: Apache-2.0

package jsonscan

import "bytes"

// readString reads a key or string from p[i] on, and returns where it ended.
func (s *Scanner) readString(p []byte, i int) int {
	begun := i
	if s.escaping {
		i++ // what stands behind the backslash is part of the string
	}
	end, escaping := closing(p, i)
	if end < 0 {
		s.escaping = escaping
		s.hand(p[begun:])
		s.store(p[begun:])

		return len(p)
	}
	s.escaping = false
	s.hand(p[begun:end])
	s.pieces = nil
	s.endString(s.text(p[begun:end]), s.offset+int64(end))

	return end + 1
}

// closing returns where the quote stands that ends a string, of which p[i] is
// not behind a backslash. If there is none, end is negative, and escaping says
// whether what follows p stands behind a backslash.
func closing(p []byte, i int) (end int, escaping bool) {
	for from := i; ; {
		length := bytes.IndexByte(p[from:], '"')
		end = from + length
		if length < 0 {
			end = len(p)
		}
		// A quote behind an odd number of backslashes is part of the string.
		slashes := end
		for slashes > from && p[slashes-1] == '\\' {
			slashes--
		}
		odd := (end-slashes)&1 == 1
		switch {
		case length < 0:
			return -1, odd
		case !odd:
			return end, false
		}
		from = end + 1
	}
}

// hand passes a piece of a string on, if it is wanted in pieces.
func (s *Scanner) hand(piece []byte) {
	if s.pieces != nil && len(piece) > 0 {
		s.pieces.Piece(s.id(s.next), piece)
	}
}

// endString takes the end of a key or string, whose closing quote stands at
// end.
func (s *Scanner) endString(raw []byte, end int64) {
	if s.state == inKey {
		s.state = atColon
		if s.wanted && !s.truncated {
			s.next = s.key(raw)
		}

		return
	}
	s.value(String, raw, end+1)
}

// key returns the node of the innermost object's member.
func (s *Scanner) key(raw []byte) int16 {
	if bytes.IndexByte(raw, '\\') < 0 {
		return s.paths.member(s.node(), raw)
	}
	var plain [MaxValue]byte

	return s.paths.member(s.node(), unescape(plain[:0], raw))
}

// readWord reads a number or literal from p[i] on, and returns where it ended.
func (s *Scanner) readWord(p []byte, i int) int {
	begun := i
	for i < len(p) && s.isWord(p[i]) {
		i++
	}
	if i == len(p) {
		s.store(p[begun:])

		return i
	}
	s.endWord(p[begun:i], s.offset+int64(i))
	// Only in a row of root values can something follow at once.
	if c := p[i]; s.state == atRoot && !isSpace(c) && c != '{' && c != '[' && c != '"' {
		s.state = broken
	}

	return i
}

// isWord tells whether c can be part of the number or literal at hand.
func (s *Scanner) isWord(c byte) bool {
	if s.literal {
		return c >= 'a' && c <= 'z'
	}

	return isNumber(c)
}

// isNumber tells whether c can be part of a number.
func isNumber(c byte) bool {
	return isDigit(c) || c == '.' || c == '-' || c == '+' || c|0x20 == 'e'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// endWord takes the end of a number or literal, given its last piece.
func (s *Scanner) endWord(piece []byte, end int64) {
	if len(piece) > 0 {
		s.last = piece[len(piece)-1]
	}
	raw := s.text(piece)
	switch {
	case !s.literal && isDigit(s.last):
		s.value(Number, raw, end)
	case string(raw) == "true", string(raw) == "false":
		s.value(Bool, raw, end)
	case string(raw) == "null":
		s.value(Null, raw, end)
	default:
		s.state = broken
	}
}

// value takes the end of a scalar.
func (s *Scanner) value(kind Kind, raw []byte, end int64) {
	id := s.id(s.next)
	s.after()
	if id != 0 {
		s.visitor.Value(id, Value{Kind: kind, Raw: raw, Truncated: s.truncated, Start: s.start, End: end})
	}
}

// store keeps a piece of a key or scalar that goes on in the next piece. A
// number or literal is kept even if nobody wants it, so that it can be judged.
func (s *Scanner) store(piece []byte) {
	if !s.wanted && s.state != inWord || len(piece) == 0 {
		return
	}
	s.last = piece[len(piece)-1]
	n := copy(s.kept[s.length:], piece)
	s.length += n
	s.truncated = s.truncated || n < len(piece)
}

// text returns the whole of a key or scalar, given its last piece.
func (s *Scanner) text(piece []byte) []byte {
	if s.length > 0 {
		s.store(piece)

		return s.kept[:s.length]
	}
	if len(piece) > MaxValue {
		s.truncated = true
		piece = piece[:MaxValue]
	}

	return piece
}
