// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
)

// encodings undo what a provider may do to an answer though it was asked not
// to. They keep a window of what they have read: 32 KiB, and for Brotli up to
// 16 MiB if the provider says so.
var encodings = map[string]func(io.Reader) (io.Reader, error){
	"gzip":   func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	"x-gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	"br":     func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
}

// decoding returns how to undo a Content-Encoding; encoded is false where
// there is nothing to undo. Of several encodings, none is undone.
func decoding(contentEncoding string) (open func(io.Reader) (io.Reader, error), encoded bool) {
	name := strings.ToLower(strings.TrimSpace(contentEncoding))

	return encodings[name], name != "" && name != "identity"
}

// Plain returns at most so many bytes of an error's body without its encoding,
// or the body as it is. Some servers send gzip and do not say so, or say so and
// do not. Opaque is a body whose encoding cannot be undone.
func Plain(h http.Header, body []byte, most int) (plain []byte, encoded, opaque bool) {
	open, encoded := decoding(h.Get("Content-Encoding"))
	zipped := bytes.HasPrefix(body, gzipMagic)
	if zipped {
		open, encoded = encodings["gzip"], true
	}
	if open == nil || len(body) == 0 {
		return body, encoded, encoded && len(body) > 0
	}
	reader, err := open(bytes.NewReader(body))
	if errors.Is(err, gzip.ErrHeader) && !zipped {
		return body, false, false
	}
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(reader, int64(most)))
	}
	// The body may have been cut off: what can be read of it counts.
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return body, true, true
	}

	return plain, true, false
}

// decoder undoes an encoding piece by piece. The libraries want to read where
// we are written to, so they run as a coroutine: it goes on when something is
// written, and no further than that leads.
type decoder struct {
	// input is what has been written but not yet read; over says that no more
	// will come.
	input []byte
	over  bool
	// broken says that what came cannot be decoded.
	broken bool

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// newDecoder returns a decoder that hands on what it has decoded. It must be
// closed.
func newDecoder(open func(io.Reader) (io.Reader, error), into func([]byte)) *decoder {
	d := &decoder{}
	d.next, d.stop = iter.Pull(func(yield func(struct{}) bool) {
		d.yield = yield
		plain, err := open(d)
		for buffer := make([]byte, 4<<10); err == nil; {
			var n int
			n, err = plain.Read(buffer)
			into(buffer[:n])
		}
		d.broken = !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errClosed)
	})

	return d
}

// errClosed ends a decoder of which nobody wants to know any more.
var errClosed = errors.New("the decoder is closed")

// write takes the next encoded piece.
func (d *decoder) write(p []byte) {
	d.input = p
	d.next()
	d.input = nil
}

// end says that no more will come.
func (d *decoder) end() {
	d.over = true
	d.next()
}

// close ends the coroutine.
func (d *decoder) close() { d.stop() }

// Read is where the library gets the encoded bytes.
func (d *decoder) Read(p []byte) (int, error) {
	for len(d.input) == 0 {
		switch {
		case d.over:
			return 0, io.EOF
		case !d.yield(struct{}{}):
			return 0, errClosed
		}
	}
	n := copy(p, d.input)
	d.input = d.input[n:]

	return n, nil
}
