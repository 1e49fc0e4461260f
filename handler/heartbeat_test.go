// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// client is a response writer that remembers what it got.
type client struct {
	header  http.Header
	got     bytes.Buffer
	flushed atomic.Int32
	gone    bool
}

func (c *client) Header() http.Header { return c.header }
func (c *client) WriteHeader(int)     {}
func (c *client) Flush()              { c.flushed.Add(1) }
func (c *client) Write(p []byte) (int, error) {
	if c.gone {
		return 0, errors.New("gone")
	}
	return c.got.Write(p)
}

// beating returns the writer of a stream of events.
func beating(t *testing.T, change func(*heartbeat, http.Header)) (*heartbeat, *client) {
	t.Helper()
	c := &client{header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}}
	b := &heartbeat{ResponseWriter: c, every: 10 * time.Second, takes: func() bool { return true }}
	if change != nil {
		change(b, c.header)
	}
	b.WriteHeader(http.StatusEarlyHints)
	b.WriteHeader(http.StatusOK)
	t.Cleanup(b.stop)
	return b, c
}

func write(t *testing.T, b *heartbeat, text string) {
	t.Helper()
	if n, err := b.Write([]byte(text)); n != len(text) || err != nil {
		t.Errorf("writing %q: %d, %v", text, n, err)
	}
	_ = b.FlushError()
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d) // in simulated time
	synctest.Wait()
}

// A stream that is silent gets comments, as long as it is and no more.
func TestSilentStreamGetsComments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := beating(t, nil)
		pass(12 * time.Second)
		write(t, b, "data: 1\n\n")
		pass(6 * time.Second)
		write(t, b, "data: 2\n\n")
		pass(9 * time.Second)
		write(t, b, "data: 3\n\n")
		flushed := c.flushed.Load()
		pass(25 * time.Second)
		if n := c.flushed.Load() - flushed; n != 2 {
			t.Errorf("flushed %d times for two comments", n)
		}
		write(t, b, "data: 4\n\n")
		b.stop()
		pass(time.Hour)
		const want = ": keep-alive\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n: keep-alive\n\n: keep-alive\n\ndata: 4\n\n"
		if got := c.got.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A comment never stands within an event.
func TestCommentsStandBetweenEvents(t *testing.T) {
	for sent, between := range map[string]bool{
		"data: 1\n\n": true, "data: 1\r\n\r\n": true, "data: 1\n\r\n": true, "data: 1\r\r\n": true, ": ping\n\n": true, "\n\n\n": true,
		"data: 1": false, "data: 1\n": false, "data: 1\r\n": false, "data: 1\r\n\r": false, "data: 1\n\nd": false, "\n": false,
		"event: x\n": false, "data: 1\n\nevent: x\r\n": false, ": ping\n": false,
	} {
		for cut := range len(sent) {
			synctest.Test(t, func(t *testing.T) {
				b, c := beating(t, nil)
				write(t, b, sent[:cut])
				write(t, b, sent[cut:])
				pass(15 * time.Second)
				want := sent
				if between {
					want += ": keep-alive\n\n"
				}
				if got := c.got.String(); got != want {
					t.Errorf("cut at %d, got %q, want %q", cut, got, want)
				}
			})
		}
	}
}

// However a stream is cut and wherever it pauses: without the comments, the
// client has what the provider sent, and the comments stand between events.
func TestHeartbeatIsTransparent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		comments := 0
		for seed := range uint64(300) {
			random := rand.New(rand.NewPCG(seed, 3))
			end := []string{"\n", "\r\n"}[random.IntN(2)]
			var sent strings.Builder
			for i := range 20 {
				fmt.Fprintf(&sent, "event: e%sdata: {\"i\":%d}%s%s", end, i, end, end)
			}
			b, c := beating(t, nil)
			for rest := sent.String(); rest != ""; {
				n := 1 + random.IntN(min(len(rest), 40))
				write(t, b, rest[:n])
				rest = rest[n:]
				if random.IntN(3) == 0 {
					pass(time.Duration(random.Int64N(int64(30 * time.Second))))
				}
			}
			b.stop()
			pieces := strings.Split(c.got.String(), string(keepAlive))
			if got := strings.Join(pieces, ""); got != sent.String() {
				t.Fatalf("seed %d: got %q, want %q", seed, got, sent.String())
			}
			comments += len(pieces) - 1
			for _, piece := range pieces[:len(pieces)-1] {
				if piece != "" && !strings.HasSuffix(piece, end+end) {
					t.Fatalf("seed %d: a comment behind %q", seed, piece)
				}
			}
		}
		if comments < 100 {
			t.Errorf("only %d comments in all", comments)
		}
	})
}

// What is no plain stream of events gets none.
func TestOnlyStreamsOfEventsGetComments(t *testing.T) {
	for name, change := range map[string]func(b *heartbeat, h http.Header){
		"another type":  func(_ *heartbeat, h http.Header) { h.Set("Content-Type", "application/json") },
		"no type":       func(_ *heartbeat, h http.Header) { h.Del("Content-Type") },
		"encoded":       func(_ *heartbeat, h http.Header) { h.Set("Content-Encoding", "gzip") },
		"stated length": func(_ *heartbeat, h http.Header) { h.Set("Content-Length", "100") },
		"only the name": func(b *heartbeat, _ http.Header) { b.takes = func() bool { return false } },
		"only at first": func(b *heartbeat, _ http.Header) {
			asked := 0
			b.takes = func() bool { asked++; return asked == 1 }
		},
		"client is gone": func(b *heartbeat, _ http.Header) { b.ResponseWriter.(*client).gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, c := beating(t, change)
				_, _ = b.Write([]byte("data: 1\n\n"))
				pass(time.Minute)
				if strings.Contains(c.got.String(), "keep-alive") {
					t.Errorf("got %q", c.got.String())
				}
			})
		})
	}
}

// An event costs no memory.
func TestHeartbeatDoesNotAllocate(t *testing.T) {
	b, c := beating(t, nil)
	event := []byte("data: 1\n\n")
	allocs := testing.AllocsPerRun(1000, func() {
		c.got.Reset()
		_, _ = b.Write(event)
	})
	if allocs > 0 {
		t.Errorf("%.1f allocations for each event", allocs)
	}
}
