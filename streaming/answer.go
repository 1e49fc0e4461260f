// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
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
	// memory is that of what was held back, to be given back once it is passed
	// on.
	memory *[shortHeld]byte
	// room is the memory for what is pending, to be used again.
	room []byte
	// view has read what the client gets; it is the first leg's scanner.
	view *wire.Scanner
	// rescue is nil where a broken stream is not to be taken up again.
	rescue *rescue
	// earlier are the keys of the legs before this one.
	earlier []keypool.Secret
	// broken says that the client was told that the answer is not whole.
	broken, closed bool
}

// deliver makes a leg the answer to the call.
func (r *rotation) deliver(l *leg) *http.Response {
	res := *l.response
	if l.detach != nil {
		l.detached = l.detach()
	}
	cleanAnswerHeader(res.Header)
	switch {
	case l.stream:
		// Should it break, there will be more of it than was stated.
		res.ContentLength = -1
		res.Header.Del("Content-Length")
	case errors.Is(l.end, io.EOF) && res.ContentLength < 0:
		// It is all here. A stated length spares a flush on the way.
		res.ContentLength = int64(len(l.held))
		res.Header.Set("Content-Length", strconv.Itoa(len(l.held)))
	}
	a := &answer{leg: l, view: l.scan, rescue: r.newRescue(l)}
	switch {
	case a.rescue != nil:
		l.end = a.pass(l.held, l.end)
	case l.ails() && encoded(l.response.Header):
		l.end = errReported
	case l.filter != nil || l.ails():
		a.put(l.held)
	default:
		a.pending, a.memory = l.held, l.memory
	}
	if l.memory != nil && a.memory == nil { // what was held has been copied
		heldMemory.Put(l.memory)
	}
	l.held, l.memory = nil, nil
	if l.end != nil {
		a.finish(l.end)
	}
	a.noteTokens()
	r.call.Status = res.StatusCode
	r.call.answer = a
	if a.rescue == nil {
		r.call.dropBody()
	}
	res.Body = a
	res.Request = r.in
	return &res
}

// Read passes on the provider's bytes as they come.
func (a *answer) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(a.pending) > 0 {
			n := copy(p, a.pending)
			if a.pending = a.pending[n:]; len(a.pending) == 0 {
				a.forget() // a stream may go on for long without that memory
			}
			return n, nil
		}
		if a.end != nil {
			return 0, a.end
		}
		n, err := a.leg.read(p)
		a.noteTokens()
		switch {
		case a.rescue != nil:
			n, err = 0, a.pass(p[:n], err)
		case a.leg.ails() && encoded(a.leg.response.Header):
			n, err = 0, errReported // the key may be in there, and nobody could hide it
		case a.leg.filter != nil || a.leg.ails() || a.leg.veil.held > 0:
			a.put(p[:n])
			n = 0
		}
		if err != nil {
			a.finish(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

// forget lets go of what is no longer pending.
func (a *answer) forget() {
	a.pending = nil
	if a.memory != nil {
		heldMemory.Put(a.memory)
		a.memory = nil
	}
}

// Ahead reports whether the next piece is here already.
func (a *answer) Ahead() bool { return len(a.pending) > 0 || a.end != nil }

// noteTokens notes when the client got the first generated event, and the last
// one so far.
func (a *answer) noteTokens() {
	l := a.leg
	if l.firstToken == 0 {
		return
	}
	since := l.began.Sub(l.call.Started)
	if l.call.FirstToken == 0 {
		l.call.FirstToken = since + l.firstToken
	}
	l.call.LastToken = since + l.lastToken
}

// put lets the client have a piece of the leg's stream, without what only our
// asking for the usage has brought in, and without the key if it ails.
func (a *answer) put(piece []byte) {
	if a.leg.ails() || a.leg.veil.held > 0 {
		piece = a.leg.veil.Write(nil, piece)
	}
	a.add(piece)
}

// add puts a piece behind what is pending.
func (a *answer) add(piece []byte) {
	drained := len(a.pending) == 0
	if drained {
		a.pending = a.room
	}
	if a.leg.filter != nil {
		a.pending = a.leg.filter.Write(a.pending, piece)
	} else {
		a.pending = append(a.pending, piece...)
	}
	if drained {
		a.room = a.pending[:0]
	}
}

// flush lets the client have what may no longer be left out of the leg's
// stream.
func (a *answer) flush() {
	if a.leg.veil.held > 0 {
		a.add(a.leg.veil.End(nil))
	}
	if a.leg.filter != nil {
		a.pending = a.leg.filter.End(a.pending, a.leg.scan.Ended())
	}
}

// pass lets a piece through the rescue, which holds back what is not whole.
func (a *answer) pass(piece []byte, err error) error {
	out, diverged := a.rescue.take(a.leg, piece)
	a.put(out)
	switch {
	case diverged != nil:
		return diverged
	case a.leg.scan.Failure() != nil:
		return errReported
	case a.rescue.full():
		a.letGo()
	}
	return err
}

// letGo ends the rescue: what it holds back is passed on, but for half an event
// at the end of a whole answer, and the request will not be sent again.
func (a *answer) letGo() {
	if !a.leg.scan.Torn() {
		a.put(a.rescue.tail)
	}
	a.rescue = nil
	a.leg.call.dropBody()
}

// finish takes the end of the answer. One that broke after some of it had
// reached the client is taken up by another if that is wanted and possible.
// Else it ends with the API family's own error event where there is one, so
// that the client's SDK raises it. Elsewhere the connection is broken.
func (a *answer) finish(err error) {
	if errors.Is(err, io.EOF) || a.leg.left {
		a.end = err
		if a.rescue != nil {
			a.letGo()
		}
		a.flush()
		return
	}
	if a.leg.call.Cause == nil {
		a.leg.call.Cause = err
	}
	a.end = err
	if a.rescue != nil {
		lastWords := a.rescue.tail
		if a.resume(err) {
			return
		}
		a.rescue = nil
		if errors.Is(err, errReported) && len(lastWords) > 0 {
			// The provider said itself what went wrong.
			a.put(lastWords)
			a.flush()
			a.end, a.broken = io.EOF, true
			return
		}
	}
	a.broken = true
	a.flush()
	if last := a.view.BreakOff(a.leg.call.Request.Family, brokenOff(a.leg.call)); last != nil {
		// It may repeat what the provider calls its model.
		a.pending, a.end = a.leg.veil.End(a.leg.veil.Write(a.pending, last)), io.EOF
	}
}

// resume goes on with another leg.
func (a *answer) resume(cause error) bool {
	broken := a.leg
	if errors.Is(cause, errTotalTimeout) {
		return false
	}
	verdict, _ := broken.verdict()
	broken.finish(verdict)
	next, out := a.rescue.resume(a.rescue.rotation.in.Context(), broken, cause)
	if next == nil {
		return false
	}
	a.leg, a.end = next, nil
	a.earlier = append(a.earlier, broken.veil.secret)
	a.put(out)
	if next.end != nil {
		a.finish(next.end)
	}
	return true
}

// brokenOff is what the client is told of the first thing that went wrong.
func brokenOff(call *Call) wire.Error {
	e := wire.Error{Status: http.StatusBadGateway, Code: "upstream_broken", Message: "the provider broke the answer off before its end"}
	var timeout *timeoutError
	if errors.As(call.Cause, &timeout) {
		e = timedOut(call.Cause)
	}
	e.RequestID = call.ID
	return e
}

// settle ends an answer that nobody has closed.
func (a *answer) settle() { _ = a.Close() }

func (a *answer) isEvents() bool { return a.view.Events() || a.view.Silent() }

// Close ends the answer: the provider's connection is released or broken off,
// the key gets its verdict, and the call its result.
func (a *answer) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	call := a.leg.call
	left := !a.view.Final() && a.end == nil
	if left && a.leg.detached {
		a.leg.drain()
	}
	call.Result = a.view.Result()
	cut := !a.leg.done && !a.leg.scan.Final()
	if a.leg.stream && cut || a.view.Provisional() || !call.Result.Usage.Stated() && call.Request.Generates() {
		a.view.Guess(call.size)
		call.Result = a.view.Result()
	}
	if call.Request.Operation.Standing {
		call.Result.Usage = wire.Usage{} // it is that of other calls
	}
	verdict, outcome := a.leg.verdict()
	switch {
	case a.broken:
		outcome = OutcomeBroken
	case left && outcome == OutcomeOK:
		outcome = OutcomeCanceled
	}
	call.Outcome = outcome
	switch {
	case outcome != OutcomeBroken:
		call.Cause = nil
	case call.Cause == nil:
		call.Cause = errReported
	}
	call.hideSecret(a.leg.veil.secret)
	for _, secret := range a.earlier {
		call.hideSecret(secret)
	}
	a.leg.finish(verdict)
	if a.leg.scan != a.view {
		a.leg.scan.Release()
	}
	a.view.Release()
	a.forget()
	return nil
}
