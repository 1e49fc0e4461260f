// SPDX-License-Identifier: Apache-2.0

package wire

// finding is what a byte of an event's JSON has made clear.
type finding uint8

const (
	nothingSaid finding = iota
	// memberBegins: from the cut on stands a member that may be a usage.
	memberBegins
	memberStays
	memberGoes
	eventStays
	eventGoes
)

// usageKey is the name of a usage.
const usageKey = "usage"

// member reads the members of one JSON object, as far as it takes to know
// those that a [UsageFilter] takes out. It does not check the JSON.
type member struct {
	depth             int
	inString, escaped bool
	started, ended    bool

	// cut is where the member begins, with the comma before it if there is
	// one; first says that there is none, and swallow that the one behind it
	// is left out too.
	cut            int
	first, swallow bool
	part           memberPart
	key            [8]byte
	keyN           int
	nulls          int

	noChoices, usage bool
}

// memberPart is what of a member is going by.
type memberPart uint8

const (
	beforeKey memberPart = iota
	inMemberKey
	behindKey
	beforeValue
	inValue
	inChoices // behind the bracket that opens the choices
	inNull    // in a usage that begins like a null
)

// betweenMembers tells whether a comma would divide two members.
func (m *member) betweenMembers() bool { return m.depth == 1 && !m.inString }

// isUsage tells whether the member at hand is a usage of which only the
// beginning has come.
func (m *member) isUsage() bool {
	return (m.part == beforeValue || m.part == inNull || m.part == behindKey) && string(m.key[:m.keyN]) == usageKey
}

// skim reads on within the value at hand, and returns how far that leads: to
// its end, or to the end of the line. Nothing in there is to be taken out.
func (m *member) skim(p []byte) int {
	if m.part != inValue || m.ended {
		return 0
	}
	for i, c := range p {
		switch {
		case c == '\n' || c == '\r' || m.depth == 1 && !m.inString:
			return i
		case m.inString:
			m.text(c)
		default:
			m.nest(c)
		}
	}

	return len(p)
}

// next prepares for the member that begins at a place.
func (m *member) next(at int, first bool) {
	m.part, m.keyN, m.cut, m.first, m.swallow = beforeKey, 0, at, first, false
}

// forget leaves the member at hand alone, for its beginning is gone.
func (m *member) forget() { m.part, m.swallow = inValue, false }

// read takes a byte; size is the length of what is held, the byte included.
func (m *member) read(c byte, size int) finding {
	if m.ended {
		return nothingSaid
	}
	if m.inString {
		return m.text(c)
	}
	if c == ' ' || c == '\t' {
		return nothingSaid
	}
	if !m.started {
		m.started = true
		if c != '{' {
			m.ended = true

			return eventStays
		}
		m.depth = 1
		m.next(size, true)

		return memberBegins
	}
	if m.depth == 1 {
		return m.outer(c, size)
	}

	return m.inner(c)
}

// text takes a byte of a key or string.
func (m *member) text(c byte) finding {
	switch {
	case m.escaped:
		m.escaped = false
	case c == '\\':
		m.escaped = true
	case c == '"':
		m.inString = false
		if m.part == inMemberKey {
			m.part = behindKey
		}

		return nothingSaid
	}
	if m.part == inMemberKey && m.keyN < len(m.key) {
		m.key[m.keyN] = c
		m.keyN++
	}

	return nothingSaid
}

// outer takes a byte that stands right in the object.
func (m *member) outer(c byte, size int) finding {
	switch {
	case c == '}':
		m.ended = true
		if m.noChoices && m.usage {
			return eventGoes
		}

		return eventStays
	case c == ',':
		m.next(size-1, false)

		return memberBegins
	case m.part == beforeKey && c == '"':
		m.inString, m.part = true, inMemberKey
	case m.part == behindKey && c == ':':
		m.part = beforeValue

		return m.named()
	case m.part == beforeValue:
		return m.begin(c)
	case m.part == inNull:
		return m.null(c)
	default:
		m.nest(c)
	}

	return nothingSaid
}

// named takes the end of a key.
func (m *member) named() finding {
	switch string(m.key[:m.keyN]) {
	case usageKey:
		return nothingSaid
	case "error":
		return eventStays
	default:
		return memberStays
	}
}

// begin takes the first byte of a value.
func (m *member) begin(c byte) finding {
	m.part = inValue
	m.nest(c)
	switch key := string(m.key[:m.keyN]); {
	case key == "choices" && c == '[':
		m.part = inChoices
	case key == "choices":
		return eventStays
	case key == usageKey && c == 'n':
		m.part, m.nulls = inNull, 1
	case key == usageKey:
		m.usage = c == '{'

		return memberStays
	}

	return nothingSaid
}

// null takes a letter of what may be a null.
func (m *member) null(c byte) finding {
	if "null"[m.nulls] != c {
		m.part = inValue

		return memberStays
	}
	if m.nulls++; m.nulls < len("null") {
		return nothingSaid
	}
	m.part, m.swallow = inValue, m.first

	return memberGoes
}

// inner takes a byte that stands deeper in the object.
func (m *member) inner(c byte) finding {
	m.nest(c)
	if m.part != inChoices {
		return nothingSaid
	}
	m.part = inValue
	if c == ']' {
		m.noChoices = true

		return nothingSaid
	}

	return eventStays
}

// nest counts what opens and closes.
func (m *member) nest(c byte) {
	switch c {
	case '"':
		m.inString = true
	case '{', '[':
		m.depth++
	case '}', ']':
		m.depth--
	}
}
