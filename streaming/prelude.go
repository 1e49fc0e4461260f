// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// How much of an answer is held back. Of a stream that is what comes before
// the first generated event (role-only chunks, pings, "response created"),
// which tells the client nothing yet; an answer that comes whole says nothing
// before its end. As long as nothing was passed on, an error can be mended.
const (
	maxHeldStream = 256 << 10
	maxHeldWhole  = 64 << 10
	maxHeldEvents = 16
)

// begin begins to read an answer. It returns the leg once it is clear that it
// has begun well: an answer is held back until it has generated something, as
// until then it may still fail. asks says that the request asked for the usage
// on our own account.
func (r *rotation) begin(l *leg, asks bool) (*leg, *failure) {
	call, res := r.call, l.response
	l.scan = wire.NewScanner(call.Request.Operation, res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Content-Encoding"))
	l.scan.ReadHeader(res.Header)
	l.stream = call.Request.Stream && call.Request.Operation.Dialect != nil && res.StatusCode == http.StatusOK
	if f := r.hold(l); f != nil {
		f.asked = asks
		l.drop()
		l.scan.Release()
		f.hideSecret(l.veil.secret)
		return nil, f
	}
	l.to.share.answered(l)
	if asks && l.scan.Events() && !encoded(res.Header) {
		l.filter = new(wire.UsageFilter)
	}
	if !l.stream || l.scan.Started() {
		l.lease.Answering(wire.ReadHeadroom(res.Header, time.Now()))
	}
	r.found(l)
	l.attempt = call.record(Attempt{Provider: l.to.provider.Name, KeyID: l.lease.KeyID(), Duration: time.Since(l.began)})
	return l, nil
}

// hold reads the leg until it generates something, is over, or the bounds are
// reached; what was read is passed on first, byte for byte. If the answer said
// that it had failed, or broke, before anything was generated, that is a
// failure.
func (r *rotation) hold(l *leg) *failure {
	switch l.response.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified:
		if !l.call.Request.Generates() {
			return nil
		}
		if r.mayAskAgain() {
			return &failure{verdict: keypool.Verdict{Class: keypool.ClassEmpty}}
		}
		return notAnswered(noBody)
	default:
		return nil
	}
	if l.call.Request.Operation.Dialect == nil {
		return nil
	}
	most := maxHeldWhole
	if l.stream {
		most = maxHeldStream
	}
	l.makeRoom()
	for l.end == nil && l.scan.Failure() == nil && !l.scan.Started() && len(l.held) < most && !l.lingers() &&
		(!l.stream || !l.scan.Ended() && l.scan.Result().Events < maxHeldEvents) {
		l.holdMore()
	}
	if body := l.scan.Failure(); body != nil {
		return r.failedInside(l.judgeInside(body), body)
	}
	if r.filtered(l) {
		return filteredInside(l)
	}
	over, started := errors.Is(l.end, io.EOF) || l.scan.Ended(), l.scan.Started()
	noAnswer := l.noAnswer(over)
	if over && !(l.stream && started) || noAnswer != "" {
		if verdict, isFailure := l.judgeWhole(); isFailure {
			return r.failedInside(verdict, l.held)
		}
	}
	switch {
	case noAnswer == page:
		return notAnswered(noAnswer)
	case started:
		return nil
	case l.end != nil && !errors.Is(l.end, io.EOF):
		return r.fault(l.end)
	case over && saysNothing(l.scan.Result()) && r.mayAskAgain():
		return &failure{verdict: keypool.Verdict{Class: keypool.ClassEmpty}}
	case noAnswer != "":
		return notAnswered(noAnswer)
	}
	return nil
}

// mayAskAgain reports whether to ask once more for an answer that had nothing
// in it: it may be a hiccup, or the model's honest answer.
func (r *rotation) mayAskAgain() bool {
	if r.emptied || !r.takeRetry() {
		return false
	}
	r.emptied = true
	return true
}

// What a success may be that no model has made: one without a body, or the page
// of something that stands before the provider, such as a login.
const (
	noBody = "no_body"
	page   = "html"
)

// noAnswer says what it is instead if an answer that a model should have made
// is none; over says that it is all there. It returns nothing if it is one, or
// may be.
func (l *leg) noAnswer(over bool) string {
	switch {
	case !l.call.Request.Generates():
		return ""
	case l.scan.Page():
		return page
	case over && l.scan.Blank():
		return noBody
	}
	return ""
}

// notAnswered blames the provider for a success that is no answer.
func notAnswered(detail string) *failure {
	return &failure{verdict: keypool.Verdict{Class: keypool.ClassUpstream, Detail: detail}}
}

// holdMore reads the next piece of what is held back.
func (l *leg) holdMore() {
	l.held = slices.Grow(l.held, 1)
	n, err := l.read(l.held[len(l.held):cap(l.held)])
	l.held, l.end = l.held[:len(l.held)+n], err
}

// filtered reports whether the answer is over and was refused by a filter, and
// there are targets for that. Of a stream that has generated something, it is
// too late to say so.
func (r *rotation) filtered(l *leg) bool {
	return len(r.chain.contentFilter) > 0 && !r.elsewhere && l.scan.Ended() && !l.call.Request.Several &&
		!(l.stream && l.scan.Started()) && l.scan.Result().FinishReason == "content_filter"
}

// filteredInside makes a failure of such an answer. If there is no better one,
// the client gets it as it is.
func filteredInside(l *leg) *failure {
	for l.stream && l.end == nil && len(l.held) < maxHeldStream {
		l.holdMore()
	}
	return &failure{
		verdict: keypool.Verdict{Class: keypool.ClassPolicy, Detail: l.scan.Result().Finish},
		status:  l.response.StatusCode,
		header:  l.response.Header,
		body:    l.held,
	}
}

// shortHeld is the size of the memory into which most of what is held back
// fits. It is used again.
const shortHeld = 4 << 10

var heldMemory = sync.Pool{New: func() any { return new([shortHeld]byte) }}

// makeRoom gets memory for what is held back: one byte more than a short answer
// has, so that its end is met without growing.
func (l *leg) makeRoom() {
	if length := l.response.ContentLength; length >= shortHeld && length < maxHeldWhole {
		l.held = make([]byte, 0, length+1)
		return
	}
	l.memory = heldMemory.Get().(*[shortHeld]byte)
	l.held = l.memory[:0]
}

// saysNothing reports whether an answer that is over without having generated
// anything has no reason for that, such as a filter or a limit.
func saysNothing(result wire.Result) bool {
	return result.FinishReason == "" || result.FinishReason == "stop"
}

// failedInside is an error that came in an answer whose status was 200.
func (r *rotation) failedInside(verdict keypool.Verdict, body []byte) *failure {
	request := r.call.Request
	status := statusOf(verdict.Class)
	var shape struct {
		Error json.RawMessage `json:"error"`
	}
	ours := json.Unmarshal(body, &shape) != nil || !bytes.HasPrefix(shape.Error, []byte("{"))
	if ours {
		body = request.Family.ErrorBody(wire.Error{Status: status, Code: "upstream_error",
			Message: "the provider reported an error before it answered", RequestID: r.call.ID})
	}
	return &failure{
		verdict: verdict,
		status:  status,
		header:  http.Header{"Content-Type": {"application/json"}},
		body:    bytes.Clone(body),
		ours:    ours,
	}
}

// statusOf returns the HTTP status that an error deserves which was given
// none of its own.
func statusOf(class keypool.Class) int {
	switch class {
	case keypool.ClassCaller, keypool.ClassContext, keypool.ClassPolicy:
		return http.StatusBadRequest
	case keypool.ClassRateLimited, keypool.ClassQuota, keypool.ClassTier:
		return http.StatusTooManyRequests
	case keypool.ClassAccess, keypool.ClassRegion:
		return http.StatusForbidden
	case keypool.ClassModel:
		return http.StatusNotFound
	case keypool.ClassOverloaded:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadGateway
	}
}
