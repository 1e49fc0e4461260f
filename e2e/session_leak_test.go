// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ws "github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
)

// Hundreds of sessions that end in all kinds of ways leave nothing behind.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	p := newBareProvider(t)
	g := inFrontOf(t, p.url, "breaker {", "min_success 1%", "failures 1000000", "}")
	goroutines := func() int {
		_, text := g.send(t, "GET", "/debug/pprof/goroutine?debug=1", "", "")
		first, _ := bufio.NewReader(strings.NewReader(text)).ReadString('\n')
		n, err := strconv.Atoi(strings.TrimSpace(first[strings.LastIndexByte(first, ' '):]))
		if err != nil {
			t.Fatalf("reading %q: %v", first, err)
		}
		return n
	}
	before := goroutines()
	const rounds, parallel = 40, 8
	var one sync.Mutex // whoever dials meets the provider of the same session
	for range rounds {
		var wg sync.WaitGroup
		for i := range parallel {
			wg.Go(func() {
				one.Lock()
				client := g.rawDial(t, realtimePath, handshake...)
				provider := p.meet(t)
				one.Unlock()
				provider.shake()
				if i%4 >= 2 {
					_, _ = http.ReadResponse(client.Reader, nil) // a handshake that ends badly is tried again
				}
				_, _ = provider.Conn.Write(ws.Frame(ws.Last|ws.Text, []byte(responseDone), nil)[:10+i])
				_, _ = client.Conn.Write(ws.Frame(ws.Last|ws.Binary, make([]byte, 100_000), mask))
				switch i % 4 {
				case 0:
					reset(client.Conn)
				case 1:
					_ = client.Conn.Close()
				case 2:
					reset(provider.Conn)
				case 3:
					_ = provider.Conn.Close()
				}
				ended(t, "provider", provider)
				ended(t, "client", client)
				_ = client.Conn.Close()
				_ = provider.Conn.Close()
			})
		}
		wg.Wait()
	}
	g.awaitCalls(t, rounds*parallel)
	after := 0
	for range 100 {
		if after = goroutines(); after <= before+5 {
			return
		}
		time.Sleep(100 * time.Millisecond) // another process winds down
	}
	t.Errorf("%d goroutines before, %d after", before, after)
}
