// SPDX-License-Identifier: Apache-2.0

// Package sse reads streams of server-sent events as they come by.
//
// A [Scanner] is written to like a file, in pieces of any size, and tells a
// [Visitor] what it finds. Data is handed on in pieces as well, so an event
// may be of any size while the scanner's memory is fixed. It follows
// https://html.spec.whatwg.org/multipage/server-sent-events.html, but for two
// things that real streams need: what is pending at the end counts, and what
// the standard ignores is reported.
package sse

import "bytes"

// maxName bounds the names of events and of fields, in bytes. The rest of an
// event's longer name is dropped; a field with a longer name is no field.
const maxName = 64

// Visitor is told what a scanner finds. What it is given is valid during the
// call only.
type Visitor interface {
	// Data is called with the next piece of the current event's data.
	Data(p []byte)
	// Event is called when an event has ended: when there was data, be it
	// empty, or a name. The name is empty if the stream gave none. Behind its
	// last byte, the blank line included, is the offset end, counted from
	// the scanner's Reset. Of a blank line that ends in CR LF, the LF may
	// still be to come.
	Event(name []byte, end int64)
	// Field is called with the next piece of any other field's value. A line
	// that is no field comes with an empty name and its whole text, a line
	// feed included.
	Field(name, p []byte)
	// Comment is called when a comment has ended.
	Comment()
}

// state is where in a line a scanner is.
type state uint8

const (
	atStart  state = iota // before the first byte of a line
	inName                // in what may be a field's name
	atValue               // behind the colon
	inValue               // in a field's value
	inStray               // in a line that is no field
	inRemark              // in a comment
)

// field is the kind of the current line's field.
type field uint8

const (
	other field = iota
	data
	event
)

// Scanner finds the events of one stream. The zero value needs a Reset. It is
// not safe for concurrent use.
type Scanner struct {
	visitor Visitor
	state   state
	field   field
	// offset is where the piece that is being written begins in the stream.
	offset int64
	// mark counts the bytes of the byte order mark that came so far; it is
	// len(byteOrderMark) when none can come any more.
	mark int
	// carriage says that the last byte was a CR, so that a LF ends no line.
	carriage bool
	// line is the beginning of the current line, or the name of its field.
	line  [maxName]byte
	lineN int
	// name is the name of the current event.
	name  [maxName]byte
	nameN int
	// hasData says that the current event has had a line of data.
	hasData bool
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	lineFeed      = []byte{'\n'}
)

// Reset prepares the scanner for another stream.
func (s *Scanner) Reset(v Visitor) { *s = Scanner{visitor: v} }

// Write takes the next piece of the stream. It never fails and keeps no part
// of p.
func (s *Scanner) Write(p []byte) {
	for i := 0; i < len(p); {
		if s.mark < len(byteOrderMark) && s.skipMark(p[i]) {
			i++

			continue
		}
		c := p[i]
		switch {
		case c == '\n' && s.carriage:
			s.carriage = false
			i++
		case c == '\n' || c == '\r':
			s.carriage = c == '\r'
			i++
			s.endLine(s.offset + int64(i))
		default:
			s.carriage = false
			i = s.read(p, i)
		}
	}
	s.offset += int64(len(p))
}

// End says that the stream is over: its last line and event count, even if
// nothing ended them.
func (s *Scanner) End() {
	if s.state != atStart {
		s.endLine(s.offset)
	}
	s.endEvent(s.offset)
}

// Between tells whether the stream stands between two events: what is written
// next begins a new one.
func (s *Scanner) Between() bool { return s.state == atStart && !s.hasData && s.nameN == 0 }

// Offset returns how much of the stream was written, in bytes.
func (s *Scanner) Offset() int64 { return s.offset }

// Name returns the name of the current event, as far as it has come: nothing if
// it has none so far. It is valid until the next Write.
func (s *Scanner) Name() []byte { return s.name[:s.nameN] }

// skipMark tells whether c belongs to a byte order mark at the very start.
func (s *Scanner) skipMark(c byte) bool {
	if c == byteOrderMark[s.mark] {
		s.mark++

		return true
	}
	// What looked like one was the beginning of the first line.
	begun := s.mark
	s.mark = len(byteOrderMark)
	if begun > 0 {
		s.state = inStray
		s.visitor.Field(nil, byteOrderMark[:begun])
	}

	return false
}

// read takes bytes of the current line from p[i] on, and returns where it
// stopped.
func (s *Scanner) read(p []byte, i int) int {
	switch s.state {
	case atStart:
		if p[i] == ':' {
			s.state = inRemark

			return i + 1
		}
		s.state, s.lineN = inName, 0

		return i
	case inName:
		return s.readName(p, i)
	case atValue:
		s.beginValue()
		if p[i] == ' ' {
			i++
		}

		return i
	default:
		end := i + lineLength(p[i:])
		s.take(p[i:end])

		return end
	}
}

// window bounds how far ahead the end of a line is looked for, in bytes: a
// stream whose lines end in CR would else be searched for LF over and over.
const window = 4 << 10

// lineLength returns how much of p comes before the end of a line, or before
// the end of the window.
func lineLength(p []byte) int {
	p = p[:min(len(p), window)]
	if n := bytes.IndexByte(p, '\n'); n >= 0 {
		p = p[:n]
	}
	if n := bytes.IndexByte(p, '\r'); n >= 0 {
		p = p[:n]
	}

	return len(p)
}

// readName reads what may be a field's name.
func (s *Scanner) readName(p []byte, i int) int {
	for ; i < len(p); i++ {
		switch c := p[i]; {
		case c == ':' && s.lineN > 0:
			s.state = atValue

			return i + 1
		case c == '\n' || c == '\r':
			return i
		case !isName(c) || s.lineN == maxName:
			s.stray()

			return i
		default:
			s.line[s.lineN] = c
			s.lineN++
		}
	}

	return i
}

func isName(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '_'
}

// stray makes the current line one that is no field.
func (s *Scanner) stray() {
	s.state = inStray
	if s.lineN > 0 {
		s.visitor.Field(nil, s.line[:s.lineN])
	}
}

// beginValue takes the end of a field's name.
func (s *Scanner) beginValue() {
	s.state = inValue
	switch string(s.line[:s.lineN]) {
	case "data":
		s.field = data
		if s.hasData {
			s.visitor.Data(lineFeed)
		}
		s.hasData = true
	case "event":
		s.field = event
		s.nameN = 0
	default:
		s.field = other
	}
}

// take takes a piece of a line's text.
func (s *Scanner) take(piece []byte) {
	switch {
	case s.state == inRemark:
	case s.state == inStray:
		s.visitor.Field(nil, piece)
	case s.field == data:
		s.visitor.Data(piece)
	case s.field == event:
		s.nameN += copy(s.name[s.nameN:], piece)
	default:
		s.visitor.Field(s.line[:s.lineN], piece)
	}
}

// endLine takes the end of a line, which stands at end.
func (s *Scanner) endLine(end int64) {
	switch s.state {
	case atStart:
		s.endEvent(end)
	case inName:
		s.endName()
	case atValue:
		s.beginValue()
	case inRemark:
		s.visitor.Comment()
	}
	if s.state == inStray {
		s.visitor.Field(nil, lineFeed)
	}
	s.state = atStart
}

// endName takes the end of a line that is nothing but a name: it is a field
// without a value, as the standard has it, if we know that field.
func (s *Scanner) endName() {
	switch string(s.line[:s.lineN]) {
	case "data", "event", "id", "retry":
		s.beginValue()
	default:
		s.stray()
	}
}

// endEvent takes the end of an event, if there is one.
func (s *Scanner) endEvent(end int64) {
	if !s.hasData && s.nameN == 0 {
		return
	}
	name := s.name[:s.nameN]
	s.hasData, s.nameN = false, 0
	s.visitor.Event(name, end)
}
