// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	ws "github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
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
		return ws.Frame(ws.Close, append([]byte{byte(code >> 8), byte(code)}, reason...), nil)
	}
	goodbye := ws.Frame(ws.Close, []byte("\x03\xe8"), mask)
	// says has the provider send frames and end its connection.
	says := func(frames ...[]byte) func(*rawClient, *meeting) {
		return func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(slices.Concat(frames...))
			_ = p.Conn.Close()
		}
	}
	for name, test := range map[string]struct {
		act func(client *rawClient, provider *meeting)
		// stays says that the client goes only when the session is logged.
		stays          bool
		outcome, class string
		cause          string
	}{
		"the client closes": {func(c *rawClient, p *meeting) {
			_, _ = c.Conn.Write(goodbye)
			_, _ = io.ReadFull(p, make([]byte, len(goodbye)))
			_, _ = p.Conn.Write(said(1000, ""))
			_ = p.Conn.Close()
		}, false, "ok", "ok", ""},
		"the client closes, and nobody answers": {func(c *rawClient, p *meeting) {
			_, _ = c.Conn.Write(goodbye)
			_, _ = io.ReadFull(p, make([]byte, len(goodbye)))
			reset(p.Conn)
		}, false, "ok", "ok", ""},
		"the provider closes":              {says(said(1000, "bye")), false, "ok", "ok", ""},
		"the provider goes away":           {says(said(1001, "")), false, "ok", "ok", ""},
		"the provider fails":               {says(said(1011, "Internal error")), false, "broken", "upstream", "the provider closed the session: 1011 Internal error"},
		"the provider rejects the key":     {says(said(3000, "invalid_request_error.invalid_api_key")), false, "broken", "credential", "3000"},
		"the provider repeats the key":     {says(said(1008, "no sk-canary")), false, "error", "caller", "1008 in words that repeat our key"},
		"the client's fault":               {says(said(1007, "Request contains an invalid argument.")), false, "error", "caller", "1007"},
		"no money is left":                 {says(ws.Frame(ws.Last|ws.Text, []byte(quota), nil), said(1000, "")), false, "ok", "quota", ""},
		"the provider cuts the connection": {says(), false, "broken", "broken", "ended without closing the session"},
		"the provider resets the connection": {func(_ *rawClient, p *meeting) {
			_, _ = p.Conn.Write(ws.Frame(ws.Last|ws.Text, []byte(responseDone), nil)[:30])
			reset(p.Conn)
		}, false, "broken", "broken", "reset"},
		"the client cuts the connection":   {func(c *rawClient, _ *meeting) { _ = c.Conn.Close() }, false, "canceled", "canceled", ""},
		"the client resets the connection": {func(c *rawClient, _ *meeting) { reset(c.Conn) }, false, "canceled", "canceled", ""},
		"the client stays":                 {says(), true, "broken", "broken", "ended without closing the session"},
		"the client says nothing more": {func(c *rawClient, _ *meeting) {
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}, true, "canceled", "canceled", ""},
		"the provider stays": {func(c *rawClient, _ *meeting) {
			_, _ = c.Conn.Write(goodbye)
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}, true, "ok", "ok", ""},
		"the client says goodbye and waits": {func(c *rawClient, p *meeting) {
			_, _ = c.Conn.Write(goodbye)
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
				!strings.Contains(cause, test.cause) || (cause == "") != (test.cause == "") || strings.Contains(g.Output(), "sk-canary") {
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

const oneSession = head + `http://127.0.0.1:GATEWAY {
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
