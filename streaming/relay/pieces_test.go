// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
)

// body gives its pieces one by one, each of them in one read if there is room,
// and its end with the last of them or behind it.
type body struct {
	pieces  [][]byte
	end     error
	early   bool
	largest int
}

func (b *body) Read(p []byte) (int, error) {
	b.largest = max(b.largest, len(p))
	if len(b.pieces) == 0 {
		return 0, b.end
	}
	n := copy(p, b.pieces[0])
	if b.pieces[0] = b.pieces[0][n:]; len(b.pieces[0]) == 0 {
		b.pieces = b.pieces[1:]
	}
	if b.early && len(b.pieces) == 0 {
		return n, b.end
	}
	return n, nil
}

func (*body) Close() error { return nil }

// flushes counts them.
type flushes struct {
	*httptest.ResponseRecorder
	count int
}

func (f *flushes) Flush() { f.count++ }

// Whatever pieces an answer comes in, the client gets all of it, and at once
// what has no stated length.
func TestAnswerIsPassedOnInWhateverPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	broke := errors.New("broken")
	for i := range 2000 {
		from := &body{end: io.EOF, early: i%2 == 0}
		if i%7 == 0 {
			from.end = broke
		}
		var want []byte
		for range random.IntN(6) {
			piece := make([]byte, 1+random.IntN([]int{10, smallPiece, smallPiece + 1, 3 * largePiece}[random.IntN(4)]))
			if random.IntN(4) == 0 {
				piece = make([]byte, smallPiece)
			}
			for j := range piece {
				piece[j] = byte(random.Uint32())
			}
			from.pieces, want = append(from.pieces, piece), append(want, piece...)
		}
		pieces := len(from.pieces)
		w := &flushes{ResponseRecorder: httptest.NewRecorder()}
		length := int64(-1)
		if i%3 == 0 {
			length = int64(len(want))
		}
		err := pass(w, &http.Response{Body: from, ContentLength: length, Header: http.Header{}})
		if !bytes.Equal(w.Body.Bytes(), want) || !errors.Is(err, map[bool]error{true: nil, false: broke}[errors.Is(from.end, io.EOF)]) {
			t.Fatalf("%d: got %d bytes of %d, %v", i, w.Body.Len(), len(want), err)
		}
		if length < 0 && w.count < pieces+1 || length >= 0 && w.count > 0 {
			t.Fatalf("%d: flushed %d times for %d pieces", i, w.count, pieces)
		}
	}
}

// A stream of small events holds little memory; what comes fast gets more.
func TestMemoryGrowsWithWhatComes(t *testing.T) {
	for size, largest := range map[int]int{100: smallPiece, smallPiece - 1: smallPiece, smallPiece: largePiece, 1 << 20: largePiece} {
		from := &body{pieces: [][]byte{make([]byte, size)}, end: io.EOF}
		if err := pass(httptest.NewRecorder(), &http.Response{Body: from, ContentLength: -1, Header: http.Header{}}); err != nil || from.largest != largest {
			t.Errorf("%d bytes: read into %d, %v", size, from.largest, err)
		}
	}
}

// gone is the writer to a client that is not there any more.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestPassingOnEndsWithTheClient(t *testing.T) {
	from := &body{pieces: [][]byte{{1}, {2}}, end: io.EOF}
	if err := pass(gone{httptest.NewRecorder()}, &http.Response{Body: from, ContentLength: -1, Header: http.Header{}}); !errors.Is(err, io.ErrClosedPipe) || len(from.pieces) != 1 {
		t.Errorf("got %v, with %d pieces left", err, len(from.pieces))
	}
}
