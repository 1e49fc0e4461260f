// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// What happens to a stream that breaks.
const (
	rescueOff    = "off"
	rescueResume = "resume"
)

const (
	// maxJournal is how much of a stream is remembered so that it can be
	// taken up again, in bytes. A longer one is not.
	maxJournal = 4 << 20
	// maxRescues is how many streams may take one up, one after the other.
	maxRescues = 3
)

// errNoEvents is an answer that is none that a stream of events can go on with.
var errNoEvents = ownError("the second answer is no stream of events, or encoded")

// rescue takes a stream up again that broke after some of it had reached the
// client: from another key or target, so that the client gets one whole
// answer. It needs whole events, so nothing else is passed on while it is on.
type rescue struct {
	rotation *rotation
	// sent is what the client got of the first stream.
	sent []byte
	// tail is the beginning of an event of which the rest is still to come.
	tail []byte
	// seen is how many bytes of the first stream were taken.
	seen int64
	// gap is what the client's last event lacks of its end.
	gap []byte
	// thread is the answer so far, once the first stream has broken.
	thread *wire.Continuation
	// view reads along what the client gets, over all streams.
	view  *wire.Scanner
	count int
}

// newRescue returns nil if the leg's stream cannot be taken up again.
func (r *rotation) newRescue(l *leg) *rescue {
	if r.transport.Rescue != rescueResume || !l.stream || !l.call.Request.Operation.Continues() || !l.scan.Events() {
		return nil
	}
	return &rescue{rotation: r, view: l.scan}
}

// take takes a piece of the stream and returns what of it may be passed on:
// whole events of the first stream, or what is new of a later one.
func (s *rescue) take(l *leg, piece []byte) ([]byte, error) {
	if s.thread != nil {
		out, err := s.thread.Write(piece)
		s.view.Write(out)
		return out, err
	}
	s.tail = append(s.tail, piece...)
	whole := max(int(l.scan.Whole()-s.seen), 0)
	out := s.tail[:whole]
	s.sent = append(s.sent, out...)
	// An event counts as whole at the CR, and the LF may come late.
	if bytes.HasSuffix(s.sent, []byte("\r")) && bytes.HasPrefix(s.tail[whole:], []byte("\n")) {
		out = s.tail[:whole+1]
		s.sent = append(s.sent, '\n')
	}
	s.seen += int64(len(out))
	s.tail = slices.Clone(s.tail[len(out):])
	return out, nil
}

// full reports whether more was sent than is remembered.
func (s *rescue) full() bool { return len(s.sent)+len(s.tail) > maxJournal }

// resume finds a stream that takes the answer up, and returns it together with
// what of its beginning is new to the client.
func (s *rescue) resume(ctx context.Context, broken *leg, cause error) (*leg, []byte) {
	if s.thread == nil {
		thread, err := wire.NewContinuation(broken.call.Request.Operation, s.sent)
		if err != nil {
			return nil, nil
		}
		if bytes.HasSuffix(s.sent, []byte("\r")) {
			s.gap = []byte("\n")
		}
		s.thread, s.sent, s.tail = thread, nil, nil
		// What the client did not get of the event at hand, the view did.
		s.view.Write([]byte("\n\n"))
	}
	for _, to := range s.candidates(broken.to, cause) {
		for _, prefill := range []bool{true, false} {
			if s.count == maxRescues || ctx.Err() != nil {
				return nil, nil
			}
			if l, out := s.ask(ctx, to, prefill); l != nil {
				out = append(s.gap, out...)
				s.gap = nil
				return l, out
			}
		}
	}
	return nil, nil
}

// candidates are the targets in the order in which they are to take the answer
// up. Where it broke comes first if it has other keys, and last if it was
// silent: it may be so again.
func (s *rescue) candidates(broke target, cause error) []target {
	others := slices.DeleteFunc(slices.Clone(s.rotation.targets), func(t target) bool { return t == broke })
	var timeout *timeoutError
	if broke.provider.pool.Load().Size() > 1 && !errors.As(cause, &timeout) {
		return append([]target{broke}, others...)
	}
	return append(others, broke)
}

// ask asks a target to take the answer up: by going on from the text so far,
// where it takes that, or by beginning anew.
func (s *rescue) ask(ctx context.Context, to target, prefill bool) (*leg, []byte) {
	r := s.rotation
	request := r.call.Request
	model := to.modelFor(request.Model)
	r.prefilled = nil
	if prefill {
		body, ok := s.thread.Prefill(request.Body(r.call.Body, model))
		if !ok || !to.provider.prefills.takes(model) {
			return nil, nil
		}
		r.prefilled = body
	}
	s.count++
	r.since, r.retries, r.best = time.Now(), r.transport.Retry.Attempts, nil
	l, refusal := r.ask(ctx, to, false)
	if l == nil {
		if refusal != nil {
			refusal.withoutRest()
			if prefill && refusal.verdict.Class == keypool.ClassCaller {
				to.provider.prefills.refuse(model)
			}
		}
		return nil, nil
	}
	s.thread.Join(prefill)
	out, err := s.thread.Write(l.held)
	if err == nil && !l.scan.Events() {
		err = errNoEvents
	}
	if err != nil {
		s.log(l, "it differs", err)
		l.finish(keypool.Verdict{Class: keypool.ClassCanceled})
		l.scan.Release()
		return nil, nil
	}
	s.view.Write(out)
	s.log(l, "it goes on", nil)
	return l, slices.Clone(out)
}

func (s *rescue) log(l *leg, what string, err error) {
	if c := s.rotation.transport.logger.Check(zapcore.InfoLevel, "broken stream taken up"); c != nil {
		c.Write(zap.String("request_id", l.call.ID), zap.String("provider", l.to.provider.Name),
			zap.String("key", l.lease.KeyID()), zap.String("result", what), zap.Error(err))
	}
}
