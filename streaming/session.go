// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// session is the provider's connection of a session over a WebSocket. It is
// the body of the response, and reverse_proxy copies what comes on either side
// to the other. Bytes pass untouched and at once; scanners read along. The
// key's lease is held, and the account open, until the call is closed.
type session struct {
	leg  *leg
	conn io.ReadWriteCloser
	// unwatch ends the watch for the end of the leg's context.
	unwatch func() bool

	// mu guards what follows: the two directions and whoever ends the session
	// meet here. It is never held over I/O.
	mu sync.Mutex
	// provider and client read along what each side sends, and setup what the
	// client's first message says; it is nil where that does not matter.
	provider, client websocket.Scanner
	setup            *wire.Setup
	ending           sessionEnd
	settled          bool

	// pending is what Read has yet to give away of such words, room its memory,
	// and end what comes behind.
	pending, room []byte
	end           error
}

// errClientGone is a session whose client has gone away.
var errClientGone = ownError("the client has gone away")

// closeGrace is how long the one side may take to end a session that the other
// has ended.
const closeGrace = 5 * time.Second

// switched takes an answer that changes the protocol, or should have. No
// connection becomes a tunnel but for a session, as its handshake has asked.
func (r *rotation) switched(l *leg, asked http.Header) (*leg, *failure) {
	var cause error = errSwitched
	if r.call.Request.Operation.Session {
		cause = inOurWords(websocket.Check(asked, l.response))
	}
	conn, ok := l.response.Body.(io.ReadWriteCloser)
	if cause == nil && !ok {
		cause = ownError("the provider's transport cannot carry a WebSocket")
	}
	if cause != nil {
		l.drop()
		f := &failure{verdict: keypool.Verdict{Class: keypool.ClassUpstream}, cause: cause}
		f.hideSecret(l.veil.secret)
		return nil, f
	}
	l.scan = wire.NewSessionScanner(r.call.Request.Operation)
	l.session = &session{leg: l, conn: conn, setup: wire.NewSetup(r.call.Request.Operation)}
	l.session.provider.Reset(providerFrames{l.session})
	l.session.client.Reset(clientFrames{l.session})
	l.to.share.answered(l)
	l.lease.Answering(wire.ReadHeadroom(l.response.Header, time.Now()))
	l.attempt = r.call.record(Attempt{Provider: l.to.provider.Name, KeyID: l.lease.KeyID(), Duration: time.Since(l.began)})
	return l, nil
}

// open makes a session the answer to the call.
func (s *session) open(r *rotation) *http.Response {
	res := *s.leg.response
	cleanAnswerHeader(res.Header)
	s.unwatch = context.AfterFunc(s.leg.ctx, func() { _ = s.conn.Close() })
	s.leg.watch.arm(0, nil) // the whole call may still have a limit
	r.call.Status = res.StatusCode
	r.call.answer = s
	r.call.dropBody()
	res.Body = s
	res.Request = r.in
	return &res
}

// Read passes on what the provider sends. Where that is an error or a goodbye,
// the key is hidden in it.
func (s *session) Read(p []byte) (int, error) {
	for len(s.pending) == 0 && s.end == nil {
		n, err := s.conn.Read(p)
		ails, between := s.hear(p[:n], err)
		if errors.Is(err, io.EOF) && s.leg.call.HearUntil != nil {
			// The client gets to know, and should go as well.
			_ = s.leg.call.HearUntil(time.Now().Add(closeGrace))
		}
		if !ails && s.leg.veil.held == 0 {
			return n, err
		}
		s.pending, s.end = s.leg.veil.Write(s.room[:0], p[:n]), err
		if between || err != nil {
			s.pending = s.leg.veil.End(s.pending)
		}
		s.room = s.pending[:0]
	}
	n := copy(p, s.pending)
	if s.pending = s.pending[n:]; n > 0 {
		return n, nil
	}
	return 0, s.end
}

// Write passes on what the client sends.
func (s *session) Write(p []byte) (int, error) {
	n, err := s.conn.Write(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(&s.client, p[:n], err)
	return n, err
}

// CloseWrite passes on that the client will send nothing more, if it has said
// goodbye. One that has not is gone, and the session is over at once: that is
// what an error means here.
func (s *session) CloseWrite() error {
	s.mu.Lock()
	s.ending.leave()
	closed := s.ending.closedBy != nobody
	s.mu.Unlock()
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !closed || !ok {
		return errClientGone
	}
	s.leg.watch.arm(closeGrace, errEnded)
	return half.CloseWrite()
}

// Close ends the connection. Whatever fails after that is of our own doing.
func (s *session) Close() error {
	s.mu.Lock()
	s.ending.leave()
	s.mu.Unlock()
	return s.conn.Close()
}

// note takes what has passed in one direction, and what kept it from going on.
func (s *session) note(side *websocket.Scanner, p []byte, err error) {
	if s.settled {
		return
	}
	side.Write(p)
	if err != nil {
		s.ending.lose(err, context.Cause(s.leg.ctx))
	}
}

// hear takes what has come from the provider. It tells whether there are words
// in it of what goes wrong, and whether it ends with a frame.
func (s *session) hear(p []byte, err error) (ails, between bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled {
		return false, true
	}
	faults := s.leg.scan.Faults()
	s.note(&s.provider, p, err)
	ails = s.provider.Closing() || s.leg.scan.Failing() || s.leg.scan.Faults() > faults
	return ails, s.provider.Between()
}

// isEvents reports that a session is no stream of events.
func (*session) isEvents() bool { return false }

// settle closes the account, once both directions have ended.
func (s *session) settle() {
	_ = s.Close()
	s.unwatch()
	s.leg.cancel(nil)
	if verdict, first := s.conclude(); first {
		s.leg.report(keypool.Outcome{Verdict: verdict}) // how long it took says nothing of the key
		s.leg.scan.Release()
	}
}

// conclude writes down what the session came to. It reports false if that was
// done before.
func (s *session) conclude() (verdict keypool.Verdict, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled {
		return verdict, false
	}
	s.settled = true
	call, scan := s.leg.call, s.leg.scan
	scan.GuessTurn()
	call.Result = scan.Result()
	if s.setup != nil && s.setup.Model() != "" {
		call.Request.Model, call.TargetModel = s.setup.Model(), s.setup.Model()
	}
	verdict, call.Outcome, call.Cause = s.verdict()
	call.hideSecret(s.leg.veil.secret)
	return verdict, true
}

// providerFrames takes what the provider sends.
type providerFrames struct{ s *session }

func (f providerFrames) Message(p []byte) { f.s.leg.scan.Write(p) }

func (f providerFrames) MessageEnd() { f.s.leg.scan.EndMessage() }

func (f providerFrames) Close(code int, reason []byte) {
	f.s.ending.closeBy(providerSide, code, reason)
}

// clientFrames takes what the client sends.
type clientFrames struct{ s *session }

func (f clientFrames) Message(p []byte) {
	if f.s.setup != nil {
		f.s.setup.Write(p)
	}
}

func (f clientFrames) MessageEnd() {
	if f.s.setup != nil {
		f.s.setup.EndMessage()
	}
}

func (f clientFrames) Close(code int, reason []byte) { f.s.ending.closeBy(clientSide, code, reason) }
