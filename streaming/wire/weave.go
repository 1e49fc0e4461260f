// SPDX-License-Identifier: Apache-2.0

package wire

import "strings"

// weaver joins several streams of one answer, so that a client gets each part
// of it once. It first takes note of what the client has got, then passes of
// every further stream only what is new.
//
// The dialects tell it what an event is made of, under keys that name the same
// part in every stream: pieces of text, things that come once, and values such
// as ids that must stay what they were.
type weaver struct {
	texts  map[string]*strand
	marks  map[string]bool
	values map[string]any
	counts map[string]int
	// sequence is the number of the latest event that the client has got.
	sequence int64

	// joining says that what the client has got is to be left out.
	joining bool
	// marked are the marks of the stream that is being joined.
	marked map[string]bool
	// trimmed is white space that the client has got but that the model was
	// not told of, so that it may begin with it.
	trimmed string
	// offset is added to the indices of a stream that goes on where the first
	// broke, instead of beginning anew.
	offset int64

	// size is how much text is known, and forgetful that some is not.
	size      int
	forgetful bool

	// diverged says that a stream says something else than the client was
	// told, opaque that it has parts that we do not know to leave out.
	diverged, opaque bool
}

// maxWoven bounds how much of an answer's texts is known, in bytes.
const maxWoven = 4 << 20

// strand is one text of the answer: what the client has got of it, and how
// much of that the stream at hand has said again.
type strand struct {
	sent strings.Builder
	said int
}

func newWeaver() *weaver {
	return &weaver{texts: map[string]*strand{}, marks: map[string]bool{}, values: map[string]any{}, counts: map[string]int{}}
}

// join begins with another stream. One that goes on where the last broke says
// nothing again.
func (w *weaver) join(goesOn bool, trimmed string) {
	for key := range w.marked {
		w.marks[key] = true
	}
	w.opaque = w.opaque || w.forgetful
	w.joining, w.diverged, w.offset, w.trimmed = true, false, 0, trimmed
	w.marked, w.counts = map[string]bool{}, map[string]int{}
	for _, s := range w.texts {
		s.said = 0
		if goesOn {
			s.said = s.sent.Len()
		}
	}
}

// text takes the next piece of a text, and returns what of it is new.
func (w *weaver) text(key, piece string) string {
	s := w.texts[key]
	if s == nil {
		s = new(strand)
		w.texts[key] = s
	}
	if w.joining {
		known := s.sent.String()[s.said:]
		n := min(len(known), len(piece))
		if known[:n] != piece[:n] {
			w.diverged = true
		}
		s.said += n
		piece = w.untrimmed(piece[n:])
	}
	if w.size += len(piece); w.size > maxWoven {
		// From here on there is no taking up again, but this stream goes on.
		w.forgetful = true
		return piece
	}
	s.sent.WriteString(piece)
	if w.joining {
		s.said += len(piece)
	}
	return piece
}

// untrimmed leaves out the white space that was trimmed.
func (w *weaver) untrimmed(piece string) string {
	n := 0
	for n < len(piece) && n < len(w.trimmed) && piece[n] == w.trimmed[n] {
		n++
	}
	w.trimmed = w.trimmed[n:]
	if n < len(piece) {
		w.trimmed = ""
	}
	return piece[n:]
}

// once reports whether the client has yet to get something that comes once.
func (w *weaver) once(key string) bool {
	if !w.joining {
		w.marks[key] = true
		return true
	}
	w.marked[key] = true
	return !w.marks[key]
}

// nth numbers the things of a kind within a stream, from 0.
func (w *weaver) nth(key string) int {
	n := w.counts[key]
	w.counts[key]++
	return n
}

// same returns the value that the client knows, which is the first.
func (w *weaver) same(key string, value any) any {
	if known, ok := w.values[key]; ok {
		return known
	}
	w.values[key] = value
	return value
}

// agree notes a value that every stream must repeat.
func (w *weaver) agree(key string, value any) {
	if w.same(key, value) != value {
		w.diverged = true
	}
}

// complete notes that the texts under a prefix are over: what the client has
// got of them must have been said again.
func (w *weaver) complete(prefix string) {
	for key, s := range w.texts {
		if strings.HasPrefix(key, prefix) && w.joining && s.said < s.sent.Len() {
			w.diverged = true
		}
	}
}

// keep sets a field of an object to one of the client's values, if it is there.
func (w *weaver) keep(o map[string]any, field, key string) {
	if value, ok := o[field]; ok && value != nil {
		o[field] = w.same(key, value)
	}
}

// textField trims a field that holds a piece of text, and reports whether
// anything of it is left. An empty one is taken out.
func (w *weaver) textField(o map[string]any, field, key string) bool {
	piece, ok := o[field].(string)
	if !ok {
		return false
	}
	if piece != "" {
		piece = w.text(key, piece)
	}
	if piece == "" {
		delete(o, field)
		return false
	}
	o[field] = piece
	return true
}
