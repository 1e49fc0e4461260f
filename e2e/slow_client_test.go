// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// flood is a provider that goes on for ever: it sends as fast as it may, or
// says one word and then nothing. It tells when it is asked, what it has sent,
// and when it sees that nobody listens any more.
type flood struct {
	*httptest.Server
	asked, left chan struct{}
	sent        atomic.Int64
}

const floodChunk = `data: {"model":"m","choices":[{"index":0,"delta":{"content":"WORDS"},"finish_reason":null}]}` + "\n\n"

func newFlood(t *testing.T) *flood {
	t.Helper()
	f := &flood{asked: make(chan struct{}, 1), left: make(chan struct{}, 1)}
	event := strings.Replace(floodChunk, "WORDS", strings.Repeat("words ", 2000), 1)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.sent.Store(0)
		f.asked <- struct{}{}
		defer func() { f.left <- struct{}{} }()
		if strings.Contains(string(body), "silent") {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			n, err := io.WriteString(w, event)
			if err != nil {
				return
			}
			f.sent.Add(int64(n))
			if strings.Contains(string(body), "pausing") {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// await waits for what must come soon.
func await(t *testing.T, signal <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(5 * time.Second):
		t.Fatalf("%s: not within 5s", what)
	}
}

// settledBytes waits until no more is sent, and returns how much was.
func (f *flood) settledBytes(t *testing.T) int64 {
	t.Helper()
	last, since := f.sent.Load(), time.Now()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if now := f.sent.Load(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > time.Second {
			return last
		}
	}
	t.Fatalf("the provider is never held up; it has sent %d bytes", last)
	return 0
}

// resident returns the memory of the gateway's process, in bytes.
func (g *gateway) resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Pid()))
	if err != nil {
		t.Fatalf("memory is read from /proc, on Linux: %v", err)
	}
	_, line, _ := strings.Cut(string(text), "VmRSS:")
	var kilobytes int64
	if _, err := fmt.Sscan(line, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

func beforeFlood(t *testing.T, f *flood, options string) *gateway {
	t.Helper()
	return start(t, head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai `+f.URL+` {
			key sk-a
		}
		`+options+`
	}
}
`)
}

// listen makes a streamed call and returns its answer and what leaves it.
func (g *gateway) listen(t *testing.T, model string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	t.Cleanup(leave)
	res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", strings.Replace(chatStreamBody, "gpt-4o", model, 1)).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res, leave
}

// A client that does not read holds its provider up. What has come in between
// is little, and when the client is gone the provider sees it at once.
func TestSlowClientHoldsTheProviderUp(t *testing.T) {
	const little = 24 << 20 // the buffers of four sockets, as large as Linux makes them
	for _, rescue := range []string{"off", "resume"} {
		t.Run("rescue "+rescue, func(t *testing.T) {
			f := newFlood(t)
			g := beforeFlood(t, f, "rescue "+rescue)
			before := g.resident(t)
			res, leave := g.listen(t, "endless")
			first := f.settledBytes(t)
			grown := g.resident(t) - before
			t.Logf("%d KiB were sent to nobody; the process grew by %d KiB", first>>10, grown>>10)
			if first > little || grown > 48<<20 {
				t.Errorf("%d bytes were sent to nobody, and the process grew by %d", first, grown)
			}
			// It goes on as soon as the client does.
			if _, err := io.CopyN(io.Discard, res.Body, 200<<20); err != nil {
				t.Fatal(err)
			}
			if second := f.settledBytes(t); second < 200<<20 || second > 200<<20+little {
				t.Errorf("%d bytes were sent for 200 MiB", second)
			}
			if grown := g.resident(t) - before; grown > 48<<20 {
				t.Errorf("200 MiB later the process has grown by %d bytes", grown)
			}
			leave()
			await(t, f.left, "the provider sees that the client is gone")
		})
	}
}

// Whenever its client goes away, the provider sees it at once.
func TestClientGoneCancelsTheProvider(t *testing.T) {
	f := newFlood(t)
	g := beforeFlood(t, f, "")
	t.Run("before the headers", func(t *testing.T) {
		ctx, leave := context.WithCancel(context.Background())
		go func() {
			<-f.asked
			leave()
		}()
		if res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", strings.Replace(chatStreamBody, "gpt-4o", "silent", 1)).WithContext(ctx)); err == nil {
			t.Fatalf("got %s", res.Status)
		}
		await(t, f.left, "the provider sees that the client is gone")
	})
	t.Run("in a pause", func(t *testing.T) {
		_, leave := g.listen(t, "pausing")
		<-f.asked
		leave()
		await(t, f.left, "the provider sees that the client is gone")
	})
	for _, call := range g.awaitCalls(t, 2) {
		if call["llm_outcome"] != "canceled" {
			t.Errorf("the log says %v", call)
		}
	}
}

// With drain, an answer is read on when its client is gone, but not for ever.
func TestDrainHasABound(t *testing.T) {
	f := newFlood(t)
	g := beforeFlood(t, f, "on_disconnect drain")
	res, leave := g.listen(t, "endless")
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	leave()
	select {
	case <-f.left:
	case <-time.After(30 * time.Second):
		t.Fatal("the provider is read for ever")
	}
	if sent := f.sent.Load(); sent < 16<<20 || sent > 64<<20 {
		t.Errorf("%d bytes were sent, of which 16 MiB were to be read for nobody", sent)
	}
	if call := g.awaitCalls(t, 1)[0]; call["llm_outcome"] != "canceled" || call["llm_usage_estimated"] != true {
		t.Errorf("the log says %v", call)
	}
}
