// SPDX-License-Identifier: Apache-2.0

package eventstream

// text is the type of a header that is a text, and bytes that of one which is
// written the same way but means something else.
const (
	text  = 7
	bytes = 6
)

// sizes are the lengths of the values of the other types: true, false, byte,
// short, integer, long, and then timestamp and UUID.
var sizes = map[byte]int{0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}

// step is what of a header comes next.
type step uint8

const (
	atName step = iota // the length of a name
	inName
	atType
	atLength // the two bytes of a value's length
	inLength
	inValue
	malformed
)

// headerReader reads the headers of one frame.
type headerReader struct {
	step step
	kind byte
	// left is how much of a name or value is still to come.
	left   int
	name   [255]byte
	nameN  int
	value  [maxValue]byte
	valueN int
}

// whole tells whether nothing is half read.
func (r *headerReader) whole() bool { return r.step == atName }

// read takes the next piece of the headers.
func (r *headerReader) read(p []byte, v Visitor) {
	for len(p) > 0 && r.step != malformed {
		switch r.step {
		case inName:
			n := min(len(p), r.left)
			r.nameN += copy(r.name[r.nameN:], p[:n])
			p = p[n:]
			if r.left -= n; r.left == 0 {
				r.step = atType
			}
		case inValue:
			n := min(len(p), r.left)
			r.valueN += copy(r.value[r.valueN:], p[:n])
			p = p[n:]
			if r.left -= n; r.left == 0 {
				r.end(v)
			}
		default:
			r.number(p[0], v)
			p = p[1:]
		}
	}
}

// number takes a byte that tells the length or the type of what follows.
func (r *headerReader) number(c byte, v Visitor) {
	switch r.step {
	case atName:
		r.step, r.left, r.nameN, r.valueN = inName, int(c), 0, 0
		if c == 0 {
			r.step = malformed
		}
	case atType:
		r.kind = c
		if c == text || c == bytes {
			r.step = atLength

			return
		}
		size, known := sizes[c]
		if !known {
			r.step = malformed

			return
		}
		r.begin(size, v)
	case atLength:
		r.step, r.left = inLength, int(c)<<8
	case inLength:
		r.begin(r.left|int(c), v)
	}
}

// begin takes the length of a value.
func (r *headerReader) begin(size int, v Visitor) {
	r.step, r.left = inValue, size
	if size == 0 {
		r.end(v)
	}
}

// end takes the end of a header.
func (r *headerReader) end(v Visitor) {
	r.step = atName
	if r.kind == text {
		v.Header(r.name[:r.nameN], r.value[:r.valueN])
	}
}
