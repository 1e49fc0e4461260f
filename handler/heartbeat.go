// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"bytes"
	"mime"
	"net/http"
	"sync"
	"time"
)

// minHeartbeat is how often one may be wanted.
const minHeartbeat = time.Second

// keepAlive is a comment, which clients of event streams skip.
var keepAlive = []byte(": keep-alive\n\n")

// heartbeat is the writer of a stream of events. While the stream is silent,
// it writes a comment now and then, so that nobody on the way takes the
// connection for dead. Comments go between events only, and past what reads
// the provider's answer along.
//
// It has no goroutine of its own but that of its timer, which stop ends.
type heartbeat struct {
	http.ResponseWriter
	every time.Duration
	// takes tells whether there may be comments in the provider's answer, as far
	// as it has come.
	takes func() bool
	// fits says that the head is that of such a stream, and that there is room
	// in it.
	fits bool

	mu sync.Mutex
	// timer runs from the head until it is stopped; nil before that. begun says
	// that something was written behind the head.
	timer          *time.Timer
	begun, stopped bool
	// tail is the end of what was written, and last when.
	tail [3]byte
	last time.Time
}

// WriteHeader looks at the head as the provider has it: handlers in front may
// encode what is written here, but the provider must not have.
func (b *heartbeat) WriteHeader(status int) {
	if status >= http.StatusOK {
		h := b.Header()
		media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
		b.fits = status == http.StatusOK && media == "text/event-stream" &&
			h.Get("Content-Encoding") == "" && h.Get("Content-Length") == ""
	}
	b.ResponseWriter.WriteHeader(status)
	if b.fits = b.fits && b.takes(); !b.fits {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = time.Now()
	b.timer = time.AfterFunc(b.every, b.beat)
}

// Write passes on a piece of the answer.
func (b *heartbeat) Write(p []byte) (int, error) {
	if !b.fits {
		return b.ResponseWriter.Write(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.ResponseWriter.Write(p)
	kept := copy(b.tail[:], b.tail[min(n, len(b.tail)):])
	copy(b.tail[kept:], p[max(0, n-len(b.tail)):n])
	b.last = time.Now()
	if !b.begun {
		// Now it shows whether the answer is what its head says.
		b.begun = true
		if b.fits = b.takes(); !b.fits {
			b.stopLocked()
		}
	}
	return n, err
}

// beat writes a comment if it is time to.
func (b *heartbeat) beat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	if silent := time.Since(b.last); silent < b.every {
		b.timer.Reset(b.every - silent)
		return
	}
	if b.between() {
		if _, err := b.ResponseWriter.Write(keepAlive); err != nil {
			return // the client is gone, as those who write the answer will find out
		}
		_ = http.NewResponseController(b.ResponseWriter).Flush()
	}
	b.last = time.Now()
	b.timer.Reset(b.every)
}

// between reports whether the client has whole events only: whether the last
// line that it got is empty. Behind a CR there may be more of the line's end.
func (b *heartbeat) between() bool {
	if !b.begun {
		return true
	}
	line, ended := bytes.CutSuffix(b.tail[:], []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	before := line[len(line)-1]
	return ended && (before == '\n' || before == '\r')
}

// FlushError sends what was written on its way.
func (b *heartbeat) FlushError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return http.NewResponseController(b.ResponseWriter).Flush()
}

// Unwrap returns the writer behind, for http.ResponseController.
func (b *heartbeat) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// stop ends the heartbeat. Nothing is written after it.
func (b *heartbeat) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopLocked()
}

func (b *heartbeat) stopLocked() {
	b.stopped = true
	if b.timer != nil {
		b.timer.Stop()
	}
}
