// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// ErrUnknownPath says that a path belongs to no API family, or is written in
// a way that a provider could take for another path.
var ErrUnknownPath = errors.New("unknown path")

// maxPath bounds a request's path, in bytes as sent.
const maxPath = 2 << 10

// address is a path as the client sent it, with its escapes, cut in three:
// "/upload", "/v1beta" and "/files". Each part is empty or begins with a slash.
type address struct{ head, version, rest string }

func (a address) String() string { return a.head + a.version + a.rest }

// checkedPath returns the escaped path of u if no two readers could disagree
// about where it leads. What is forwarded is built from this very text.
func checkedPath(u *url.URL) (string, error) {
	path := u.EscapedPath()
	if strings.HasPrefix(path, "//ws/google.") {
		path = path[1:] // as Google's JavaScript SDK has it
	}
	switch {
	case len(path) > maxPath:
		return "", fmt.Errorf("%w: longer than %d bytes", ErrUnknownPath, maxPath)
	case path == "/":
		return path, nil
	case len(path) < 2 || path[0] != '/':
		return "", ErrUnknownPath
	}
	if isPlain(path) {
		return path, nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil || !utf8.ValidString(plain) {
			return "", fmt.Errorf("%w: malformed escape", ErrUnknownPath)
		}
		// An escaped percent sign could become another escape further on.
		if strings.ContainsFunc(plain, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' || c == '%' }) {
			return "", fmt.Errorf("%w: character that has no place in a path", ErrUnknownPath)
		}
		// Names of models may hold an escaped slash, which some servers take
		// for a real one.
		for part := range strings.SplitSeq(plain, "/") {
			// Some servers cut a segment at a semicolon.
			name, _, _ := strings.Cut(part, ";")
			if name == "" || name == "." || name == ".." {
				return "", fmt.Errorf("%w: empty or dotted segment", ErrUnknownPath)
			}
		}
	}

	return path, nil
}

// isPlain tells whether a path is nothing but ASCII that means itself, in
// segments that are not empty and do not begin with a dot. Nearly all are.
func isPlain(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c == '%', c == ';', c == '\\', c <= ' ', c >= 0x7f:
			return false
		case c == '/' && (i+1 == len(path) || path[i+1] == '/' || path[i+1] == '.'):
			return false
		}
	}

	return true
}

// plainSpelling returns how a path is usually spelled that a lenient server
// takes for the same.
func plainSpelling(path string) string {
	plain, _ := url.PathUnescape(path) // it has been checked
	plain, _, _ = strings.Cut(plain, ";")

	return strings.ToLower(plain)
}

// cutSegment divides a path into its first segment, with the slash, and the
// rest.
func cutSegment(path string) (first, rest string) {
	if path == "" {
		return "", ""
	}
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[:i+1], path[i+1:]
	}

	return path, ""
}

// isVersion tells whether a segment, with its slash, is an API's version:
// /v1, /v1beta, /v2alpha1.
func isVersion(segment string) bool {
	digits, ok := strings.CutPrefix(segment, "/v")
	if !ok {
		return false
	}
	tail := strings.TrimLeft(digits, "0123456789")
	if len(tail) == len(digits) {
		return false
	}
	for _, stage := range []string{"alpha", "beta"} {
		tail = strings.TrimPrefix(tail, stage)
	}

	return strings.Trim(tail, "0123456789") == ""
}
