// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

const (
	realtimePath = "/v1/realtime?model=m-1"
	livePath     = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
)

// conversation is a session as its client and a gateway see it.
type conversation struct {
	t       *testing.T
	conn    *websocket.Conn
	ctx     context.Context
	scanner *wire.Scanner
	heard   []string
}

// talk opens a session.
func talk(t *testing.T, base, path string) *conversation {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	conn, res, err := websocket.Dial(ctx, base+path, &websocket.DialOptions{Subprotocols: []string{"realtime"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", res.StatusCode)
	}
	u, _ := url.Parse(path)
	asked, err := wire.Recognize(http.MethodGet, u, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	scanner := wire.NewSessionScanner(asked.Operation)
	t.Cleanup(scanner.Release)
	return &conversation{t: t, conn: conn, ctx: ctx, scanner: scanner}
}

func (c *conversation) say(message string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads messages until one has that part. It returns the error that came
// before that, if one did.
func (c *conversation) hear(part string) error {
	for {
		_, message, err := c.conn.Read(c.ctx)
		if err != nil {
			return err
		}
		c.scanner.Write(message)
		c.scanner.EndMessage()
		c.heard = append(c.heard, string(message))
		if strings.Contains(string(message), part) {
			return nil
		}
	}
}

func (c *conversation) mustHear(part string) {
	c.t.Helper()
	if err := c.hear(part); err != nil {
		c.t.Fatalf("waiting for %s: %v\n%s", part, err, strings.Join(c.heard, "\n"))
	}
}

const (
	question = `{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"say it once again"}]}}`
	request  = `{"type":"response.create"}`
	setup    = `{"setup":{"model":"models/m-1"}}`
	turn     = `{"clientContent":{"turns":[{"role":"user","parts":[{"text":"say it once again"}]}],"turnComplete":true}}`
)

func TestRealtimeSessionIsReadAsTheProvidersAre(t *testing.T) {
	c := talk(t, serve(t, simulator.Options{Chunks: 3}), realtimePath)
	c.mustHear(`"session.created"`)
	c.say(`{"type":"session.update","session":{}}`)
	c.mustHear(`"session.updated"`)
	c.say(question)
	c.mustHear(`"conversation.item.done"`)
	for range 2 {
		c.say(request)
		c.mustHear(`"response.done"`)
	}
	c.say(`nonsense`)
	c.mustHear(`"type":"error"`)
	got := c.scanner.Result()
	if got.Model != "m-1" || got.FinishReason != "stop" || got.Usage.InputTotal() != 8 || got.Usage.OutputTotal() != 6 || got.Estimated {
		t.Errorf("read along: %+v", got)
	}
	if deltas := strings.Count(strings.Join(c.heard, "\n"), `"response.output_text.delta"`); deltas != 6 || c.conn.Subprotocol() != "realtime" {
		t.Errorf("%d deltas, subprotocol %q", deltas, c.conn.Subprotocol())
	}
}

func TestLiveSessionIsReadAsTheProvidersAre(t *testing.T) {
	c := talk(t, serve(t, simulator.Options{Chunks: 3}), livePath)
	c.say(setup)
	c.mustHear("setupComplete")
	c.say(turn)
	c.mustHear("turnComplete")
	if got := c.scanner.Result(); got.Finish != "turnComplete" || got.Usage.InputTotal() != 4 || got.Usage.OutputTotal() != 3 {
		t.Errorf("read along: %+v", got)
	}
	confused := talk(t, serve(t, simulator.Options{}), livePath)
	confused.say(turn)
	if err := confused.hear("setupComplete"); websocket.CloseStatus(err) != 1007 {
		t.Errorf("got %v", err)
	}
}

// Faults strike at the handshake, or in the middle of an answer.
func TestFaultsOfSessions(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer k"}}
	for name, status := range map[string]int{"rate_limited": 429, "invalid_key": 401, "unavailable": 503} {
		if _, res, err := websocket.Dial(context.Background(), serve(t, simulator.Options{Keys: []simulator.Key{{Secret: "k", Fault: fault(t, name)}}})+realtimePath, &websocket.DialOptions{HTTPHeader: header}); err == nil || res == nil || res.StatusCode != status {
			t.Errorf("%s: got %v, %v", name, res, err)
		}
	}
	for text, want := range map[string]struct {
		part   string // what comes of it, or else the session ends
		deltas int
	}{
		"cut 2":           {"", 2},
		"error_event 1":   {`"server_is_overloaded"`, 1},
		"no_terminator":   {`"response.output_item.done"`, 3},
		"slow 1ms":        {`"response.done"`, 3},
		"stall 1 1ms":     {`"response.done"`, 3},
		"malformed 1":     {`"response.done"`, 2},
		"malformed 9":     {`"response.done"`, 3},
		"error_event 999": {`"server_is_overloaded"`, 3},
	} {
		c := talk(t, serve(t, simulator.Options{Chunks: 3, Fault: fault(t, text)}), realtimePath)
		c.say(request)
		if want.part != "" {
			c.mustHear(want.part)
		} else if err := c.hear(`"response.done"`); err == nil || websocket.CloseStatus(err) != -1 {
			t.Errorf("%s: got %v", text, err)
		}
		if deltas := strings.Count(strings.Join(c.heard, "\n"), `output_text.delta"`); deltas != want.deltas {
			t.Errorf("%s: %d deltas in\n%s", text, deltas, strings.Join(c.heard, "\n"))
		}
	}
	live := talk(t, serve(t, simulator.Options{Chunks: 3, Fault: fault(t, "error_event 1")}), livePath)
	live.say(setup)
	live.say(turn)
	if err := live.hear("turnComplete"); websocket.CloseStatus(err) != 1011 {
		t.Errorf("got %v", err)
	}
}
