// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// errSessionCut is a session whose connection ended without a word.
var errSessionCut = ownError("the provider's connection ended without closing the session")

// side is one end of a session.
type side uint8

const (
	nobody side = iota
	clientSide
	providerSide
)

// sessionEnd is how a session came to its end. What was first counts: the rest
// follows from it.
type sessionEnd struct {
	// closedBy is who has closed the session with a Close frame, and code and
	// reason what for.
	closedBy side
	code     int
	reason   string
	// over says that a connection has ended, if without a Close frame: left
	// that it was the client's, fault what broke the provider's.
	over, left bool
	fault      error
}

// closeBy takes a Close frame. The other side only answers the first one.
func (e *sessionEnd) closeBy(who side, code int, reason []byte) {
	if e.closedBy == nobody {
		e.closedBy, e.code, e.reason = who, code, string(reason)
	}
}

// leave takes the end of the client's connection, or of both by us.
func (e *sessionEnd) leave() {
	e.left = e.left || !e.over
	e.over = true
}

// lose takes what ended the provider's connection; cause is why we gave it up,
// if we did.
func (e *sessionEnd) lose(err, cause error) {
	if e.over {
		return
	}
	e.over = true
	var late *timeoutError
	switch {
	case errors.As(cause, &late):
		e.fault = late
	case cause != nil:
		e.left = true
	case errors.Is(err, io.EOF):
		e.fault = errSessionCut
	default:
		e.fault = err
	}
}

// closedWell tells whether the Close frame says that nothing was wrong. What
// the client had against going on is its own affair.
func (e *sessionEnd) closedWell() bool {
	return e.closedBy == clientSide || e.code == websocket.CloseNormal || e.code == websocket.CloseGoingAway || e.code == websocket.CloseNoStatus
}

// verdict says how the session went: what it means for the key, and for the
// call.
func (s *session) verdict() (keypool.Verdict, Outcome, error) {
	var late *timeoutError
	switch e := &s.ending; {
	case e.closedBy != nobody && e.closedWell():
		return s.mishap(keypool.ClassOK), OutcomeOK, nil
	case e.closedBy != nobody:
		return s.closedBadly()
	case e.left:
		return s.mishap(keypool.ClassCanceled), OutcomeCanceled, nil
	case errors.As(e.fault, &late):
		return s.mishap(keypool.ClassCanceled), OutcomeBroken, e.fault
	default:
		return s.mishap(keypool.ClassBroken), OutcomeBroken, e.fault
	}
}

// closedBadly judges a session that the provider has closed for a reason.
func (s *session) closedBadly() (keypool.Verdict, Outcome, error) {
	status, body := wire.CloseAnswer(s.ending.code, s.ending.reason)
	verdict := s.leg.to.provider.rules.Judge(s.leg.call.Request, status, http.Header{}, body, time.Now())
	reason := s.ending.reason
	if repeats(reason, s.leg.veil.secret) {
		verdict.Detail, reason = "", "in words that repeat our key"
	}
	cause := ownError(fmt.Sprintf("the provider closed the session: %d %s", s.ending.code, reason))
	if verdict.Next() == keypool.Answer {
		return verdict, OutcomeError, cause
	}
	return verdict, OutcomeBroken, cause
}

// mishap returns what the last error that the provider has reported means for
// the key, if no turn has gone well since; otherwise class.
func (s *session) mishap(class keypool.Class) keypool.Verdict {
	text := s.leg.scan.Failure()
	if text == nil {
		text = s.leg.scan.Mishap()
	}
	if text != nil {
		if verdict := s.leg.judgeInside(text); verdict.Next() != keypool.Answer {
			return verdict
		}
	}
	return keypool.Verdict{Class: class}
}
