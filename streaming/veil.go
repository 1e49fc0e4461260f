// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// veil hides the key of an attempt in what the provider says when it fails:
// some repeat the key there. It puts as many asterisks in its place, so that
// lengths that were stated before still hold. Between two pieces it holds back
// only what may be the beginning of the key.
type veil struct {
	secret keypool.Secret
	// held is how much of the key the end of what was written may be.
	held int
}

// Write appends to dst what of the next piece may get out, and of what was held
// back before. It keeps no part of p.
func (v *veil) Write(dst, p []byte) []byte {
	key := []byte(v.secret.Reveal())
	if len(key) == 0 {
		return append(dst, p...)
	}
	start := len(dst)
	dst = append(append(dst, key[:v.held]...), p...)
	text := dst[start:]
	for {
		at := bytes.Index(text, key)
		if at < 0 {
			break
		}
		for i := range key {
			text[at+i] = '*'
		}
		text = text[at+len(key):]
	}
	v.held = beginning(text, key)
	return dst[:len(dst)-v.held]
}

// beginning returns how much of the key, less than all of it, a text ends with.
func beginning(text, key []byte) int {
	n := min(len(key)-1, len(text))
	for !bytes.HasSuffix(text, key[:n]) {
		n--
	}
	return n
}

// End appends to dst what is held back: no more comes that would make it the
// key.
func (v *veil) End(dst []byte) []byte {
	dst = append(dst, v.secret.Reveal()[:v.held]...)
	v.held = 0
	return dst
}

// veiled is a body in which a key is hidden.
type veiled struct {
	io.ReadCloser
	veil veil
	// pending is what of the body is yet to be read, room its memory, and end
	// what comes behind it.
	pending, room []byte
	end           error
}

// Read reads what may get out.
func (b *veiled) Read(p []byte) (int, error) {
	for len(b.pending) == 0 && b.end == nil && len(p) > 0 {
		var n int
		n, b.end = b.ReadCloser.Read(p)
		b.pending = b.veil.Write(b.room[:0], p[:n])
		if b.end != nil {
			b.pending = b.veil.End(b.pending)
		}
		b.room = b.pending[:0]
	}
	n := copy(p, b.pending)
	if b.pending = b.pending[n:]; n > 0 {
		return n, nil
	}
	return 0, b.end
}

// maxHint is how much of a key may be the end of what was cut off, in bytes.
const maxHint = 7

// repeats reports whether a text holds a key, be it as JSON or a URL may spell
// it. There may be none.
func repeats(text string, secret keypool.Secret) bool {
	if secret.Empty() {
		return false
	}
	key := secret.Reveal()
	return strings.Contains(text, key) ||
		strings.ContainsAny(key, "/+=&'<>") && strings.ContainsAny(text, `\%`) && strings.Contains(plainly(text), key)
}

// plainly returns a text without escapes of ASCII: "\/" and "\u002b" as JSON has
// them, "%2B" as URLs do.
func plainly(text string) string {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		digits := 0
		switch rest := text[i+1:]; {
		case text[i] == '\\' && strings.HasPrefix(rest, "/"):
			continue
		case text[i] == '\\' && strings.HasPrefix(rest, "u00"):
			digits = len("u00")
		case text[i] != '%':
			plain = append(plain, text[i])
			continue
		}
		from := i + 1 + digits
		char, err := hex.DecodeString(text[min(from, len(text)):min(from+2, len(text))])
		if err != nil || len(char) != 1 {
			plain = append(plain, text[i])
			continue
		}
		plain = append(plain, char[0])
		i = from + 1
	}
	return string(plain)
}

// betrays reports whether a text that may have been cut off holds a key, or ends
// in too much of one.
func betrays(text string, secret keypool.Secret) bool {
	return repeats(text, secret) || !secret.Empty() && beginning([]byte(text), []byte(secret.Reveal())) > maxHint
}

// dropValues deletes the headers that hold a key.
func dropValues(h http.Header, secret keypool.Secret) {
	for name, values := range h {
		if slices.ContainsFunc(values, func(value string) bool { return repeats(value, secret) }) {
			delete(h, name)
		}
	}
}

// errRepeats stands for an error whose text must not be told.
var errRepeats = errors.New("an error whose text repeats our key")

// withoutKey returns err, unless its text holds the key.
func withoutKey(err error, secret keypool.Secret) error {
	if err != nil && repeats(err.Error(), secret) {
		return errRepeats
	}
	return err
}

// hideSecret keeps a key out of what is written down about the call. A provider
// may give it for the name of its model.
func (c *Call) hideSecret(secret keypool.Secret) {
	for _, word := range []*string{&c.Result.Model, &c.Result.Finish, &c.Result.ServiceTier} {
		if betrays(*word, secret) {
			*word = ""
		}
	}
	c.Cause = withoutKey(c.Cause, secret)
}

// hideSecret keeps back what the provider says if it repeats our key.
func (f *failure) hideSecret(secret keypool.Secret) {
	if repeats(f.verdict.Detail, secret) {
		f.verdict.Detail = ""
	}
	dropValues(f.header, secret)
	if f.rest == nil && betrays(string(f.body), secret) || repeats(string(f.body), secret) {
		f.withheld = true
		f.withoutRest()
	}
}
