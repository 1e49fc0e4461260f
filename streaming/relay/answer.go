// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// writeHead gives the client the head of an answer. Like a reverse_proxy it
// says that Caddy was on the way, rather than that it is the server.
func writeHead(w http.ResponseWriter, res *http.Response) {
	streaming.StripOptions(res.Header, res.Header["Connection"])
	head := w.Header()
	delete(head, "Server")
	head["Via"] = append(head["Via"], via(res))
	for name, values := range res.Header {
		if streaming.IsHopByHop(name) {
			continue
		}
		if own := head[name]; len(own) > 0 { // what others have set stays
			values = slices.Concat(own, values)
		}
		head[name] = values
	}
	w.WriteHeader(res.StatusCode)
}

// via says by which protocol an answer came.
func via(res *http.Response) string {
	if res.ProtoMajor == 1 && res.ProtoMinor == 1 {
		return "1.1 Caddy"
	}
	return fmt.Sprintf("%d.%d Caddy", res.ProtoMajor, res.ProtoMinor)
}

// An answer is passed on by way of a small piece of memory, which suffices for
// most streams and is held as long as they last; what fills it gets a larger
// one.
const (
	smallPiece = 4 << 10
	largePiece = 32 << 10
)

var (
	smallPieces = pieces(smallPiece)
	largePieces = pieces(largePiece)
)

func pieces(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		piece := make([]byte, size)
		return &piece
	}}
}

// pass passes on the body of an answer and closes it. What an answer of unknown
// length has said so far the client gets at once.
func pass(w http.ResponseWriter, res *http.Response) error {
	defer res.Body.Close()
	p := passage{to: w, from: res.Body}
	if res.ContentLength < 0 || caddyhttp.IsIncremental(res.Header) {
		p.flush = http.NewResponseController(w).Flush
		if ahead, ok := res.Body.(interface{ Ahead() bool }); !ok || !ahead.Ahead() {
			_ = p.flush() // the client should see the head
		}
	}
	if full, err := p.run(smallPieces, true); !full {
		return err
	}
	_, err := p.run(largePieces, false)
	return err
}

// passage is an answer on its way to the client.
type passage struct {
	to   io.Writer
	from io.Reader
	// flush is nil where the client can wait for more.
	flush func() error
}

// run passes on piece by piece, to the end or, if it is to give up then, until
// one has filled the memory.
func (p *passage) run(pool *sync.Pool, untilFull bool) (full bool, err error) {
	piece := pool.Get().(*[]byte)
	defer pool.Put(piece)
	for {
		n, err := p.from.Read(*piece)
		if n > 0 {
			if _, lost := p.to.Write((*piece)[:n]); lost != nil {
				return false, fmt.Errorf("writing to the client: %w", lost)
			}
			if p.flush != nil {
				_ = p.flush() // a client that is gone shows with the next piece
			}
		}
		switch {
		case err == io.EOF:
			return false, nil
		case err != nil:
			return false, fmt.Errorf("reading the answer: %w", err)
		case untilFull && n == len(*piece):
			return true, nil
		}
	}
}
