// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// mask is that of a client's frames here.
var mask = []byte{1, 2, 3, 4}

// reset breaks a connection off without an end.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// ended waits until a side has nothing more to read.
func ended(t *testing.T, side string, conn io.Reader) {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, conn)
	}()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Errorf("the %s's connection does not end", side)
	}
}

// However a session ends, both connections do, and the log says how it went.
func TestHowSessionsEnd(t *testing.T) {
	const quota = `{"type":"response.done","response":{"status":"failed","status_details":{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}}}`
	said := func(code int, reason string) []byte {
		return frame(closeFrame, append([]byte{byte(code >> 8), byte(code)}, reason...), nil)
	}
	for name, test := range map[string]struct {
		act func(client *rawClient, provider *meeting)
		// stays says that the client goes only when the session is logged.
		stays          bool
		outcome, class string
		cause          string
	}{
		"the client closes": {func(c *rawClient, p *meeting) {
			_, _ = c.Conn.Write(frame(closeFrame, []byte("\x03\xe8"), mask))
			_, _ = io.ReadFull(p, make([]byte, 8))
			_, _ = p.Conn.Write(said(1000, ""))
			_ = p.Conn.Close()
		}, false, "ok", "ok", ""},
		"the client closes, and nobody answers": {func(c *rawClient, p *meeting) {
			_, _ = c.Conn.Write(frame(closeFrame, []byte("\x03\xe8"), mask))
			_, _ = io.ReadFull(p, make([]byte, 8))
			reset(p.Conn)
		}, false, "ok", "ok", ""},
		"the provider closes": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(said(1000, "bye"))
			_ = p.Conn.Close()
		}, false, "ok", "ok", ""},
		"the provider goes away": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(said(1001, ""))
			_ = p.Conn.Close()
		}, false, "ok", "ok", ""},
		"the provider fails": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(said(1011, "Internal error"))
			_ = p.Conn.Close()
		}, false, "broken", "upstream", "the provider closed the session: 1011 Internal error"},
		"the provider rejects the key": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(said(3000, "invalid_request_error.invalid_api_key"))
			_ = p.Conn.Close()
		}, false, "broken", "credential", "3000"},
		"the provider repeats the key": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(said(1008, "no sk-canary"))
			_ = p.Conn.Close()
		}, false, "error", "caller", "1008 in words that repeat our key"},
		"the client's fault": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(said(1007, "Request contains an invalid argument."))
			_ = p.Conn.Close()
		}, false, "error", "caller", "1007"},
		"no money is left": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(frame(lastText, []byte(quota), nil))
			_, _ = p.Conn.Write(said(1000, ""))
			_ = p.Conn.Close()
		}, false, "ok", "quota", ""},
		"the provider cuts the connection": {func(_ *rawClient, p *meeting) {
			_ = p.Conn.Close()
		}, false, "broken", "broken", "ended without closing the session"},
		"the provider resets the connection": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(frame(lastText, []byte(responseDone), nil)[:30])
			reset(p.Conn)
		}, false, "broken", "broken", "reset"},
		"the client cuts the connection": {func(c *rawClient, _ *meeting) {
			_ = c.Conn.Close()
		}, false, "canceled", "canceled", ""},
		"the client resets the connection": {func(c *rawClient, _ *meeting) {
			reset(c.Conn)
		}, false, "canceled", "canceled", ""},
		"the client stays": {func(_ *rawClient, p *meeting) {
			_ = p.Conn.Close()
		}, true, "broken", "broken", "ended without closing the session"},
		"the client says nothing more": {func(c *rawClient, _ *meeting) {
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}, true, "canceled", "canceled", ""},
		"the provider stays": {func(c *rawClient, _ *meeting) {
			_, _ = c.Conn.Write(frame(closeFrame, []byte("\x03\xe8"), mask))
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}, true, "ok", "ok", ""},
		"the client says goodbye and waits": {func(c *rawClient, p *meeting) {
			_, _ = c.Conn.Write(frame(closeFrame, []byte("\x03\xe8"), mask))
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, p)
			answer := said(1000, "")
			_, _ = p.Conn.Write(answer)
			_ = p.Conn.Close()
			if got, _ := io.ReadAll(c); string(got) != string(answer) {
				t.Errorf("the client is answered %q", got)
			}
		}, true, "ok", "ok", ""},
		"both stay for too long": {func(*rawClient, *meeting) {}, true, "broken", "canceled", "timeouts total"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newBareProvider(t)
			total := "10m"
			if test.cause == "timeouts total" {
				total = "300ms"
			}
			g := start(t, strings.NewReplacer("PROVIDER", p.url, "TOTAL", total).Replace(oneSession))
			client := g.rawDial(t, realtimePath, append(handshake, bearer)...)
			provider := p.meet(t)
			provider.shake()
			client.answer(t)
			test.act(client, provider)
			if !test.stays {
				ended(t, "client", client)
				_ = client.Conn.Close()
				ended(t, "provider", provider)
			}
			call := g.awaitCalls(t, 1)[0]
			cause, _ := call["llm_cause"].(string)
			if call["llm_outcome"] != test.outcome || !strings.Contains(fmt.Sprint(call["llm_attempts"]), ":"+test.class+":") ||
				!strings.Contains(cause, test.cause) || (cause == "") != (test.cause == "") || strings.Contains(g.log.String(), "sk-canary") {
				t.Errorf("the log says %v", call)
			}
			ended(t, "client", client)
			ended(t, "provider", provider)
			if test.class == "credential" || test.class == "quota" || test.class == "broken" || test.class == "upstream" {
				return
			}
			// The key, of which one call may use it at a time, is free again, and
			// so is the client's one place.
			again := g.rawDial(t, realtimePath, append(handshake, bearer)...)
			next := p.meet(t)
			next.shake()
			if res := again.answer(t); res.StatusCode != 101 {
				t.Errorf("the next session: %s", res.Status)
			}
		})
	}
}

const oneSession = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
}
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			limit concurrent 1
		}
		provider openai PROVIDER {
			key sk-canary {
				id one
				max_in_flight 1
			}
		}
		timeouts {
			first_token 200ms
			total TOTAL
		}
	}
}
`

// A session is one call: it takes one place and one request of its client's
// limits while it lasts, and its tokens when it is over.
func TestSessionCountsAsOneCall(t *testing.T) {
	g := start(t, `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
}
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			limit concurrent 1
			limit requests 3 1h
			limit tokens 100 1h
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`)
	c := g.talk(t, realtimePath, withKey())
	c.say(question)
	for range 5 {
		c.say(askResponse)
		c.mustHear(`"response.done"`)
	}
	if _, res := g.dial(t, realtimePath, withKey()); res.StatusCode != 429 {
		t.Errorf("beside the first: %s", res.Status)
	}
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
	g.awaitCalls(t, 2)
	_, res := g.dial(t, realtimePath, withKey())
	status, body := readAll(t, res)
	if status != 429 || !strings.Contains(body, "user_quota_exceeded") || !strings.Contains(body, "tokens per") {
		t.Errorf("after 120 tokens: %d %s", status, body)
	}
	if left := res.Header.Get("X-Ratelimit-Remaining-Requests"); left != "1" {
		t.Errorf("%s requests are left", left)
	}
}

// A reload closes the sessions of the config before, as reverse_proxy does,
// and they are settled.
func TestReloadClosesSessions(t *testing.T) {
	g := start(t, threeKeys)
	c := g.talk(t, realtimePath, withKey())
	c.mustHear(`"session.created"`)
	_, config := g.send(t, "GET", "/config/", "", "")
	if status, body := g.send(t, "POST", "/load", "application/json", strings.Replace(config, `"handler":"llm_simulator"`, `"chunks":7,"handler":"llm_simulator"`, 1)); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, body)
	}
	if _, err := c.hear("nothing"); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v", err)
	}
	if call := g.awaitCalls(t, 1)[0]; call["llm_outcome"] != "ok" {
		t.Errorf("the log says %v", call)
	}
	again := g.talk(t, realtimePath, withKey())
	again.mustHear(`"session.created"`)
}

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
				_, _ = provider.Conn.Write(frame(lastText, []byte(responseDone), nil)[:10+i])
				_, _ = client.Conn.Write(frame(lastBinary, make([]byte, 100_000), mask))
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
