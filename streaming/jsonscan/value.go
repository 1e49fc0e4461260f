// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxValue bounds, in bytes, how much of a scalar is reported.
const MaxValue = 256

// Kind is the kind of a JSON value.
type Kind uint8

// The kinds of JSON values.
const (
	Null Kind = iota
	Bool
	Number
	String
	Object
	Array
)

// Value is a scalar as it stands in the text.
type Value struct {
	// Kind is Null, Bool, Number or String.
	Kind Kind
	// Raw is the value as written: a string without its quotes, but still
	// escaped. It is valid during the call only.
	Raw []byte
	// Truncated says that the value is longer than MaxValue bytes, of which
	// Raw has the first.
	Truncated bool
	// Start and End are where the value stands in the text since the
	// scanner's Reset, in bytes. A string's quotes are between them.
	Start, End int64
}

// Empty tells whether v is a null or an empty string.
func (v Value) Empty() bool {
	return v.Kind == Null || v.Kind == String && len(v.Raw) == 0
}

// Text returns a string without its escapes, and any other value as written.
func (v Value) Text() string {
	if v.Kind != String || bytes.IndexByte(v.Raw, '\\') < 0 {
		return string(v.Raw)
	}

	return string(unescape(make([]byte, 0, len(v.Raw)), v.Raw))
}

// Int returns a whole number, be it written as an integer, as a float (of
// which the fraction is dropped) or as a string of either. The result is
// false for everything else, and for what no int64 can hold.
func (v Value) Int() (int64, bool) {
	if v.Kind != Number && v.Kind != String || v.Truncated {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(v.Raw), 10, 64); err == nil {
		return n, true
	}
	f, ok := v.Float()
	if !ok || math.Abs(f) >= 1<<63 {
		return 0, false
	}

	return int64(f), true
}

// Float returns a number, also if it is written as a string.
func (v Value) Float() (float64, bool) {
	if v.Kind != Number && v.Kind != String || v.Truncated {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v.Raw), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}

	return f, true
}

// unescape appends a string's text to dst. What is no proper escape becomes
// the replacement character, as does half a surrogate pair; an escape that is
// cut off at the end is dropped.
func unescape(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i+1:]
		if len(raw) == 0 {
			return dst
		}
		c := raw[0]
		if c != 'u' {
			dst = append(dst, plain(c)...)
			raw = raw[1:]
			continue
		}
		if len(raw) < 5 {
			return dst
		}
		r := hex(raw[1:5])
		raw = raw[5:]
		if utf16.IsSurrogate(r) && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
			if pair := utf16.DecodeRune(r, hex(raw[2:6])); pair != utf8.RuneError {
				r = pair
				raw = raw[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// plain is what a backslash and c stand for.
func plain(c byte) string {
	switch c {
	case '"':
		return `"`
	case '\\':
		return `\`
	case '/':
		return "/"
	case 'b':
		return "\b"
	case 'f':
		return "\f"
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	default:
		return string(utf8.RuneError)
	}
}

// hex reads four hexadecimal digits.
func hex(digits []byte) (r rune) {
	for _, c := range digits {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r |= rune(c|0x20-'a') + 10
		default:
			return utf8.RuneError
		}
	}

	return r
}
