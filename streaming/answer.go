// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// answer is the body of the response that the client gets. The provider's
// bytes pass untouched; the leg's scanner reads along. It must be closed.
type answer struct {
	leg *leg
	// pending goes to the client before what the leg has yet to say: what was
	// held back, or the end of a broken stream. Behind it comes end, if set.
	pending []byte
	end     error
	closed  bool
}

// deliver makes a leg the answer to the call.
func (r *rotation) deliver(l *leg) *http.Response {
	res := *l.response
	cleanAnswerHeader(res.Header)
	switch {
	case l.stream:
		// Should it break, there will be more of it than was stated.
		res.ContentLength = -1
		res.Header.Del("Content-Length")
	case l.end == io.EOF && res.ContentLength < 0:
		// It is all here. A stated length spares a flush on the way.
		res.ContentLength = int64(len(l.held))
		res.Header.Set("Content-Length", strconv.Itoa(len(l.held)))
	}
	a := &answer{leg: l, pending: l.held}
	if l.end != nil {
		a.finish(l.end)
	}
	r.call.Status = res.StatusCode
	r.call.answer = a
	res.Body = a
	res.Request = r.in
	return &res
}

// Read passes on the provider's bytes as they come.
func (a *answer) Read(p []byte) (int, error) {
	if len(a.pending) > 0 {
		n := copy(p, a.pending)
		a.pending = a.pending[n:]
		return n, nil
	}
	if a.end != nil {
		return 0, a.end
	}
	n, err := a.leg.read(p)
	if err != nil {
		a.finish(err)
	}
	if n == 0 && a.end != nil {
		return a.Read(p)
	}
	return n, nil
}

// finish takes the end of the answer. One that broke after some of it had
// reached the client ends with the API family's own error event where there is
// one, so that the client's SDK raises it. Elsewhere the connection is broken.
func (a *answer) finish(err error) {
	a.end = err
	if err == io.EOF || a.leg.gone() {
		return
	}
	e := wire.Error{Status: http.StatusBadGateway, Code: "upstream_broken", Message: "the provider broke the answer off before its end"}
	var timeout *timeoutError
	if errors.As(err, &timeout) {
		e = timedOut(err)
	}
	e.RequestID = a.leg.call.ID
	if last := a.leg.scan.BreakOff(a.leg.call.Request.Family, e); last != nil {
		a.pending, a.end = append(a.pending, last...), io.EOF
	}
}

// Close ends the answer: the provider's connection is released or broken off,
// the key gets its verdict, and the call its result.
func (a *answer) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	call := a.leg.call
	call.Result = a.leg.scan.Result()
	verdict, outcome := a.leg.verdict()
	call.Outcome = outcome
	if outcome == OutcomeBroken {
		call.Cause = a.leg.fault
		if call.Cause == nil {
			call.Cause = errReported
		}
	}
	a.leg.close(verdict)
	return nil
}
