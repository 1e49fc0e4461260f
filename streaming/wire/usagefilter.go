// SPDX-License-Identifier: Apache-2.0

package wire

// maxFiltered bounds how much of an event is held back while it may yet be the
// one that only states the usage, in bytes. Such an event is small.
const maxFiltered = 16 << 10

// UsageFilter takes out of a stream of chat events what asking for its usage
// has brought in: the event that has a usage and no choices, and the empty
// usage of all the others. What remains is byte for byte the stream that would
// have come without asking.
//
// An event is held back until its choices are seen to be some, and of what
// follows no more than the beginning of a member that may be its usage. The
// zero value is ready for a stream. It is not safe for concurrent use.
type UsageFilter struct {
	// held is what may yet be taken out. Where open is set that is the whole
	// event; else, where inMember is set, one member of its JSON.
	held           []byte
	open, inMember bool
	// dropping says that the rest of the event is left out.
	dropping bool

	line linePlace
	// matched is how much of "data:" the line has, and carriage that the last
	// byte was a CR.
	matched  int
	carriage bool
	blank    bool

	json member
}

// linePlace is where in a line the filter is.
type linePlace uint8

const (
	atLineStart linePlace = iota
	inField               // in what may be the name of a field
	inData                // before or in the JSON
	inRest                // in what does not matter
)

const dataField = "data:"

// Write appends to dst what of the stream's next piece is to be passed on, and
// of what was held before. It keeps no part of p.
func (f *UsageFilter) Write(dst, p []byte) []byte {
	for i := 0; i < len(p); {
		if !f.open && !f.inMember && f.line == inData {
			n := f.json.skim(p[i:])
			dst = append(dst, p[i:i+n]...)
			if i += n; i == len(p) {
				break
			}
		}
		c := p[i]
		i++
		if f.swallows(c) {
			continue
		}
		dropped := f.dropping
		if !dropped && c == ',' && f.line == inData && f.json.betweenMembers() {
			dst = f.release(dst)
		}
		if !dropped {
			f.held = append(f.held, c)
		}
		f.step(c)
		if dropped || f.dropping {
			f.held = f.held[:0]
		}
		if len(f.held) > maxFiltered {
			f.open, f.inMember = false, false
			f.json.forget()
		}
		if !f.open && !f.inMember {
			dst = f.flush(dst)
		}
	}

	return dst
}

// End appends to dst what is still held at the end of the stream. Half of what
// we have brought in is left out: an empty usage, or, if over says that the
// answer itself had ended, whatever event was going by.
func (f *UsageFilter) End(dst []byte, over bool) []byte {
	switch {
	case f.line == atLineStart:
	case f.open && over:
		f.held = f.held[:0]
	case f.inMember && f.json.isUsage():
		f.held = f.held[:f.json.cut]
	}
	f.open, f.inMember = false, false

	return f.flush(dst)
}

// release passes on what stands before a member, unless the event is open.
func (f *UsageFilter) release(dst []byte) []byte {
	if f.open {
		return dst
	}

	return f.flush(dst)
}

func (f *UsageFilter) flush(dst []byte) []byte {
	dst = append(dst, f.held...)
	f.held = f.held[:0]

	return dst
}

// swallows tells whether c is left out together with what was left out before
// it: the comma behind a first member, the LF behind a last CR.
func (f *UsageFilter) swallows(c byte) bool {
	if f.line == inData && f.json.swallow && c == ',' {
		f.json.next(len(f.held), true)
		f.inMember = true

		return true
	}
	if f.carriage && f.blank && c == '\n' {
		f.carriage, f.blank = false, false

		return true
	}
	f.blank = false

	return false
}

// step takes the next byte, which is the last of held.
func (f *UsageFilter) step(c byte) {
	if c == '\n' && f.carriage {
		f.carriage = false

		return
	}
	f.carriage = c == '\r'
	switch {
	case c == '\n' || c == '\r':
		f.endLine()
	case f.line == atLineStart:
		f.beginLine(c)
	case f.line == inField:
		f.field(c)
	case f.line == inData && !f.dropping:
		f.data(c)
	}
}

// beginLine takes the first byte of a line. A comment between events passes at
// once.
func (f *UsageFilter) beginLine(c byte) {
	f.line, f.matched = inField, 0
	f.json = member{}
	if len(f.held) == 1 && !f.dropping {
		f.open = c != ':'
	}
	f.field(c)
}

// field looks for "data:".
func (f *UsageFilter) field(c byte) {
	if dataField[f.matched] != c {
		f.line = inRest

		return
	}
	if f.matched++; f.matched == len(dataField) {
		f.line = inData
	}
}

// endLine takes the end of a line. An empty one ends the event.
func (f *UsageFilter) endLine() {
	if f.line == atLineStart {
		f.open = false
		f.blank = f.dropping
		f.dropping = false
	}
	f.inMember = false
	f.line = atLineStart
}

// data takes a byte of the JSON.
func (f *UsageFilter) data(c byte) {
	switch f.json.read(c, len(f.held)) {
	case nothingSaid:
	case memberBegins:
		f.inMember = true
	case memberStays:
		f.inMember = false
	case memberGoes:
		f.held = f.held[:f.json.cut]
		f.inMember = false
	case eventStays:
		f.open, f.inMember = false, false
	case eventGoes:
		f.dropping = f.open
		f.open, f.inMember = false, false
	}
}
