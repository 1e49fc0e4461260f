// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// conversation is a session with the simulator, through the gateway.
type conversation struct {
	t    *testing.T
	conn *websocket.Conn
	ctx  context.Context
}

// dial opens a session, or returns the answer that refused it.
func (g *gateway) dial(t *testing.T, path string, opts *websocket.DialOptions) (*conversation, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	conn, res, err := websocket.Dial(ctx, g.url+path, opts)
	if err != nil && res == nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil, res
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &conversation{t, conn, ctx}, res
}

// withKey sends the client's key in the header, as servers do.
func withKey() *websocket.DialOptions {
	return &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + clientKey}}}
}

// withProtocols sends it among the subprotocols, as browsers do.
func withProtocols(protocols ...string) *websocket.DialOptions {
	return &websocket.DialOptions{Subprotocols: protocols}
}

// talk opens a session that must be let in.
func (g *gateway) talk(t *testing.T, path string, opts *websocket.DialOptions) *conversation {
	t.Helper()
	c, res := g.dial(t, path, opts)
	if c == nil {
		status, body := readAll(t, res)
		t.Fatalf("refused with %d %s", status, body)
	}
	return c
}

func (c *conversation) say(message string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads messages until one has that part, and returns the last it read.
func (c *conversation) hear(part string) (string, error) {
	for {
		_, message, err := c.conn.Read(c.ctx)
		if err != nil || strings.Contains(string(message), part) {
			return string(message), err
		}
	}
}

func (c *conversation) mustHear(part string) string {
	c.t.Helper()
	message, err := c.hear(part)
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", part, err)
	}
	return message
}

const (
	realtimePath = "/v1/realtime?model=gpt-realtime"
	livePath     = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
	question     = `{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"tell me a story"}]}}`
	askResponse  = `{"type":"response.create"}`
)

// A session is let in by the third key, and everything that it took in all its
// turns is on its line in the log.
func TestSessionRotatesKeysAtItsHandshake(t *testing.T) {
	g := start(t, threeKeys)
	c := g.talk(t, realtimePath, withProtocols("realtime", "openai-insecure-api-key."+clientKey, "openai-beta.realtime-v1"))
	if c.conn.Subprotocol() != "realtime" {
		t.Errorf("subprotocol %q", c.conn.Subprotocol())
	}
	c.mustHear(`"session.created"`)
	c.say(question)
	for range 3 {
		c.say(askResponse)
		c.mustHear(`"response.done"`)
	}
	if len(g.calls(t)) > 0 {
		t.Error("the session is logged before it is over")
	}
	if err := c.conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("closing: %v", err)
	}
	call := g.awaitCalls(t, 1)[0]
	attempts := fmt.Sprint(call["llm_attempts"])
	for _, part := range []string{"limited:rate_limited:", "invalid:credential:", "good:ok:"} {
		if !strings.Contains(attempts, part) {
			t.Errorf("attempts %s", attempts)
		}
	}
	for field, want := range map[string]any{
		"llm_outcome": "ok", "llm_client": "app", "llm_key": "good", "llm_operation": "openai.realtime", "llm_model": "gpt-realtime",
		"llm_model_answered": "gpt-realtime", "llm_finish": "completed", "llm_stream": true, "status": 101.0,
		"llm_input_tokens": 3 * 4.0, "llm_output_tokens": 3 * 20.0, "llm_events": 3.0 + 3*27,
	} {
		if call[field] != want {
			t.Errorf("%s: got %v, want %v", field, call[field], want)
		}
	}
}
