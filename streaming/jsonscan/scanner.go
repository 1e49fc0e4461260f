// SPDX-License-Identifier: Apache-2.0

// Package jsonscan finds values by their path in JSON that arrives in pieces.
//
// A [Scanner] is written to like a file and calls a [Visitor] when a value
// at one of its [Paths] has gone by. It keeps a fixed amount of state, however
// long or deep the text is, and allocates nothing. Several values in a row, as
// in NDJSON, are matched each from its root.
package jsonscan

// maxDepth bounds how deep values may be nested.
const maxDepth = 1000

// Visitor is told what a scanner finds.
type Visitor interface {
	// Value is called when a scalar at a compiled path has ended.
	Value(id ID, v Value)
	// Open is called when an object or array at a compiled path begins.
	Open(id ID, kind Kind)
	// Close is called when what Open announced has ended.
	Close(id ID)
}

// PieceVisitor is what visits paths of which the strings are wanted whole,
// however long they are; see [Paths.InPieces].
type PieceVisitor interface {
	Visitor
	// Piece is called with the next piece of a string, as it is written. When
	// the string has ended, Value is called as for any other.
	Piece(id ID, p []byte)
}

// state is what a scanner expects next.
type state uint8

const (
	atRoot     state = iota // a value, or the end of the text
	atValue                 // a value
	atFirst                 // an array's first element, or its end
	atFirstKey              // an object's first key, or its end
	atKey                   // a key
	atColon                 // the colon behind a key
	atNext                  // a comma, or the end of the object or array
	inKey                   // the rest of a key
	inString                // the rest of a string
	inWord                  // the rest of a number or literal
	broken                  // nothing: this is not JSON
)

// Scanner finds values in one JSON text. The zero value needs a Reset. It is
// not safe for concurrent use.
type Scanner struct {
	paths   *Paths
	visitor Visitor
	state   state
	roots   int
	// offset is where the piece that is being written begins in the text, and
	// at is the byte of it that is being looked at; -1 between pieces.
	offset int64
	at     int

	// depth counts the open objects and arrays; objects has a bit for each of
	// them. The matched outermost are on a path, whose nodes are in nodes.
	depth, matched int
	objects        [maxDepth/64 + 1]uint64
	nodes          [maxSteps + 1]int16

	// next is the node of the value that comes next or is being read, and
	// start is where that begins in the text.
	next  int16
	start int64
	// kept has the length first bytes of a key or scalar that came in several
	// pieces, if it is wanted, and last is the last of them all.
	kept   [MaxValue]byte
	length int
	last   byte
	// wanted says that somebody will look at the key or scalar, truncated that
	// it does not fit, escaping that the next byte of a string stands behind a
	// backslash, and literal that a word is no number.
	wanted, truncated, escaping, literal bool
	// pieces is the visitor if it wants the string at hand in pieces.
	pieces PieceVisitor
	// form is which form the last text was of, and strange how many have been
	// of none since. Texts of one stream are alike: a Reset leaves them.
	form, strange uint8
}

// Reset prepares the scanner for another text.
func (s *Scanner) Reset(paths *Paths, visitor Visitor) {
	s.paths, s.visitor = paths, visitor
	s.state, s.next = atRoot, 0
	s.roots, s.offset, s.at = 0, 0, -1
	s.depth, s.matched = 0, 0
	s.nodes[0] = none
	s.pieces = nil
}

// Write takes the next piece of the text. It never fails and keeps no part of
// p; what it makes of it, [Scanner.Broken] and [Scanner.Complete] tell.
func (s *Scanner) Write(p []byte) {
	fresh := s.paths.forms != nil && s.offset == 0 && s.state == atRoot && len(p) > 0
	if fresh && s.recall(p) {
		return
	}
	s.read(p)
	if fresh && s.roots == 1 && s.Complete() {
		s.paths.forms.learn(s.paths, p)
	}
}

func (s *Scanner) read(p []byte) {
	for i := 0; i < len(p); {
		switch s.state {
		case inKey, inString:
			i = s.readString(p, i)
		case inWord:
			i = s.readWord(p, i)
		case broken:
			i = len(p)
		default:
			if c := p[i]; !isSpace(c) {
				s.at = i
				s.step(c, i)
			}
			// A number or literal is read with its first byte.
			if s.state != inWord {
				i++
			}
		}
	}
	s.offset += int64(len(p))
	s.at = -1
}

// End says that the text is over: a number that nothing follows is whole now.
func (s *Scanner) End() {
	if s.state == inWord {
		s.endWord(nil, s.offset)
	}
}

// Broken tells whether what came is not JSON. Whatever followed was ignored.
func (s *Scanner) Broken() bool { return s.state == broken }

// Complete tells whether at least one whole value came, and nothing is half
// open.
func (s *Scanner) Complete() bool { return s.state == atRoot && s.roots > 0 }

// Elements tells whether the text stands between two elements of an array that
// is its root, and whether a comma must come before another one.
func (s *Scanner) Elements() (between, comma bool) {
	if s.depth != 1 || s.inObject() {
		return false, false
	}
	return s.state == atFirst || s.state == atValue || s.state == atNext, s.state == atNext
}

// Within returns which path leads to the string of which only the beginning has
// come; 0 if none does, or there is no such string.
func (s *Scanner) Within() ID {
	if s.state != inString {
		return 0
	}

	return s.id(s.next)
}

// Between tells whether nothing is half open, or nothing came yet.
func (s *Scanner) Between() bool { return s.state == atRoot }

// Offset returns how much of the text has been taken, in bytes. When called
// during Open or Close, it includes the bracket that these report.
func (s *Scanner) Offset() int64 { return s.offset + int64(s.at) + 1 }
