// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"bytes"
	"sync/atomic"
)

// Events of a stream, and those of all streams of a provider, differ in their
// strings and numbers only. Comparing what they have in common takes a
// fraction of the time that reading it anew does.

const (
	// maxForms is how many forms are known at a time, of how long texts with
	// how many holes.
	maxForms    = 8
	maxFormText = 4 << 10
	maxHoles    = 32
	// missesPerForm is how many texts of no known form it takes to learn
	// another one, once there are as many as there may be.
	missesPerForm = 64
	// patience is how many texts in a row may be of no known form before only
	// every patience-th is compared.
	patience = 16
)

// forms are how the texts that came lately are built. They are safe for
// concurrent use: scanners of many texts learn from each other.
type forms struct {
	known [maxForms]atomic.Pointer[form]
	// misses counts the texts that were of no known form.
	misses atomic.Uint32
}

// form is how a text is built: parts, one behind the other, and what a
// scanner tells of it. It is immutable, and holds nothing of strings and
// numbers.
type form struct {
	parts  []part
	visits []visit
}

// part is what all texts of a form have in common, up to a hole.
type part struct {
	same []byte
	hole Kind // String, Number, or Null if the text ends here
}

// span is where a hole begins and ends: a string's without its quotes.
type span struct{ start, end int }

// visit is a call of the visitor.
type visit struct {
	does byte // one of visitOpen, visitClose, visitHole and visitWord
	id   ID
	kind Kind
	// part is where what is told of stands; at is how far behind the part's
	// beginning, unless it is the hole itself.
	part, at int
	// word is a literal as it is written.
	word []byte
}

const (
	visitOpen byte = iota
	visitClose
	visitHole
	visitWord
)

// LearnForms makes scanners compare texts that come in one piece with those
// that came before. It returns p, and is for the time before p is used; paths
// of which strings are wanted in pieces cannot have it.
func (p *Paths) LearnForms() *Paths {
	p.forms = new(forms)

	return p
}

// recall takes a whole text if it is of a known form.
func (s *Scanner) recall(text []byte) bool {
	if s.strange >= patience {
		if s.strange++; s.strange < 2*patience {
			return false
		}
		s.strange = patience
	}
	var holes [maxHoles]span
	for i := range maxForms {
		slot := (int(s.form) + i) % maxForms
		if f := s.paths.forms.known[slot].Load(); f != nil && f.fits(text, &holes) {
			s.form, s.strange = uint8(slot), 0
			s.replay(f, text, &holes)

			return true
		}
	}
	if s.strange < patience {
		s.strange++
	}

	return false
}

// fits tells whether a text is of the form, and finds its holes.
func (f *form) fits(text []byte, holes *[maxHoles]span) bool {
	at := 0
	for i := range f.parts {
		p := &f.parts[i]
		if !bytes.HasPrefix(text[at:], p.same) {
			return false
		}
		at += len(p.same)
		if p.hole == Null {
			return at == len(text)
		}
		var end int
		if p.hole == Number {
			end = numberEnd(text, at)
		} else if end, _ = closing(text, at); end < 0 {
			return false
		}
		if p.hole == Number && end == at {
			return false
		}
		holes[i] = span{at, end}
		at = end
	}

	return false
}

// numberEnd returns where a number ends that begins at text[i]; i if none
// does.
func numberEnd(text []byte, i int) int {
	end := i
	for end < len(text) && isNumber(text[end]) {
		end++
	}
	if end == i || text[i] != '-' && !isDigit(text[i]) || !isDigit(text[end-1]) {
		return i
	}

	return end
}

// replay tells what there is to tell of a text.
func (s *Scanner) replay(f *form, text []byte, holes *[maxHoles]span) {
	s.roots, s.state = 1, atRoot
	for i := range f.visits {
		v := &f.visits[i]
		begin := 0 // of the part
		if v.part > 0 {
			begin = holes[v.part-1].end
		}
		switch v.does {
		case visitHole:
			s.visitor.Value(v.id, holeValue(v.kind, text, holes[v.part]))
		case visitWord:
			start := int64(begin + v.at)
			s.visitor.Value(v.id, Value{Kind: v.kind, Raw: v.word, Start: start, End: start + int64(len(v.word))})
		case visitOpen:
			s.at = begin + v.at
			s.visitor.Open(v.id, v.kind)
		case visitClose:
			s.at = begin + v.at
			s.visitor.Close(v.id)
		}
	}
	s.offset, s.at = int64(len(text)), -1
}

// holeValue returns the scalar in a hole.
func holeValue(kind Kind, text []byte, hole span) Value {
	v := Value{Kind: kind, Raw: text[hole.start:hole.end], Start: int64(hole.start), End: int64(hole.end)}
	if kind == String {
		v.Start, v.End = v.Start-1, v.End+1
	}
	if len(v.Raw) > MaxValue {
		v.Raw, v.Truncated = v.Raw[:MaxValue], true
	}

	return v
}

// learn takes the form of a text that is whole and of no known one.
func (l *forms) learn(paths *Paths, text []byte) {
	misses := l.misses.Add(1) - 1
	slot := misses % maxForms
	if misses >= maxForms {
		if misses%missesPerForm != 0 {
			return
		}
		slot = misses / missesPerForm % maxForms
	}
	if f := newForm(paths, text); f != nil {
		l.known[slot].Store(f)
	}
}

// newForm returns the form of a text that is an object or array; nil if that
// is not worth the memory.
func newForm(paths *Paths, text []byte) *form {
	if len(text) > maxFormText || text[0] != '{' && text[0] != '[' {
		return nil
	}
	f := new(form)
	var holes []span
	for begin, at := 0, 0; ; {
		hole, kind := nextHole(text, at)
		f.parts = append(f.parts, part{bytes.Clone(text[begin:hole.start]), kind})
		if kind == Null {
			break
		}
		if holes = append(holes, hole); len(holes) == maxHoles {
			return nil
		}
		begin, at = hole.end, hole.end
		if kind == String {
			at++ // its quote is the beginning of what follows
		}
	}
	r := recorder{form: f, holes: holes}
	r.scanner.Reset(&Paths{nodes: paths.nodes, anyCase: paths.anyCase}, &r)
	r.scanner.Write(text)

	return f
}

// nextHole returns the next string or number of a valid text that is no key.
// Its kind is Null if there is none.
func nextHole(text []byte, i int) (span, Kind) {
	for i < len(text) {
		switch c := text[i]; {
		case c == '"':
			end, _ := closing(text, i+1)
			if rest := bytes.TrimLeft(text[end+1:], " \t\r\n"); len(rest) == 0 || rest[0] != ':' {
				return span{i + 1, end}, String
			}
			i = end + 1
		case c == '-' || isDigit(c):
			return span{i, numberEnd(text, i)}, Number
		default:
			i++
		}
	}

	return span{i, i}, Null
}

// recorder visits a text whose form is taken.
type recorder struct {
	scanner Scanner
	form    *form
	holes   []span
}

// place returns the part that holds a place outside of the holes, and how far
// behind its beginning that is.
func (r *recorder) place(at int) (part, behind int) {
	begin := 0
	for part < len(r.holes) && r.holes[part].end <= at {
		begin = r.holes[part].end
		part++
	}

	return part, at - begin
}

func (r *recorder) Value(id ID, v Value) {
	start := int(v.Start)
	if v.Kind == String {
		start++
	}
	for i := range r.holes {
		if r.holes[i].start == start && (v.Kind == String || v.Kind == Number) {
			r.form.visits = append(r.form.visits, visit{does: visitHole, id: id, kind: v.Kind, part: i})

			return
		}
	}
	part, at := r.place(start)
	r.form.visits = append(r.form.visits, visit{visitWord, id, v.Kind, part, at, bytes.Clone(v.Raw)})
}

func (r *recorder) Open(id ID, kind Kind) {
	part, at := r.place(int(r.scanner.Offset()) - 1)
	r.form.visits = append(r.form.visits, visit{does: visitOpen, id: id, kind: kind, part: part, at: at})
}

func (r *recorder) Close(id ID) {
	part, at := r.place(int(r.scanner.Offset()) - 1)
	r.form.visits = append(r.form.visits, visit{does: visitClose, id: id, part: part, at: at})
}
