// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/coder/websocket"
)

// session is one side of a conversation over a WebSocket.
type session struct {
	call  *call
	conn  *websocket.Conn
	ctx   context.Context
	fault Fault
	// heard are the client's messages. What is no JSON object comes as nil.
	heard chan object
	// kind is whether messages are sent as text or as binary.
	kind websocket.MessageType
}

// serveSession takes up the conversation and holds it until either side has
// had enough.
func (c *call) serveSession(w http.ResponseWriter, f Fault) {
	// There is nothing here that a foreign page should not see.
	conn, err := websocket.Accept(w, c.request, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}, InsecureSkipVerify: true})
	if err != nil {
		return // the client has been told
	}
	conn.SetReadLimit(maxBody)
	ctx, cancel := context.WithCancel(c.request.Context())
	s := &session{call: c, conn: conn, ctx: ctx, fault: f, heard: make(chan object), kind: websocket.MessageText}
	c.request = c.request.WithContext(ctx) // pauses end with the conversation
	c.input = 0                            // what is said counts
	go s.listen(cancel)
	c.api.session(s)
	_ = conn.CloseNow()
	cancel()
	for range s.heard { // until nobody listens any more
	}
}

// listen reads what the client says until it is gone.
func (s *session) listen(gone context.CancelFunc) {
	defer close(s.heard)
	defer gone()
	for {
		_, text, err := s.conn.Read(s.ctx)
		if err != nil {
			return
		}
		var message object
		_ = json.Unmarshal(text, &message)
		select {
		case s.heard <- message:
		case <-s.ctx.Done():
			return
		}
	}
}

// say sends a message.
func (s *session) say(text string) { _ = s.conn.Write(s.ctx, s.kind, []byte(text)) }

// answer plays the events of an answer, and reports whether all went well.
func (s *session) answer(events []event) bool {
	play := stream{call: s.call, to: messageSink{s}}
	return play.play(events, s.fault)
}

// messageSink makes each event a message.
type messageSink struct{ s *session }

func (m messageSink) write(e event, _ bool) { m.s.say(e.data) }

func (messageSink) end() {}

func (m messageSink) cut() { _ = m.s.conn.CloseNow() }
