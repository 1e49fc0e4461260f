// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// failure is an attempt that did not end in an answer worth passing on, or
// not without looking for a better one first.
type failure struct {
	verdict keypool.Verdict
	// cause is the transport's error. It is nil if the provider answered;
	// then status, header and body hold what it said.
	cause  error
	status int
	header http.Header
	body   []byte
	// withheld says that none of the provider's words may get out: they repeat
	// our key, or are encoded so that nobody knows whether they do.
	withheld bool
	// ours says that the body is in our own words.
	ours bool
	// asked says that the request asked for the usage on our own account.
	asked bool
	// rest is what the provider's answer holds behind body, if anything.
	rest io.ReadCloser
}

// rank orders failures by how much they tell the client. What concerns the
// request itself comes first, then what a wait can mend, then outages. A
// rejected key tells the client nothing: that is between us and the provider.
func (f *failure) rank() int {
	if f.verdict.Excess {
		return 5
	}
	switch f.verdict.Class {
	case keypool.ClassCaller, keypool.ClassContext, keypool.ClassPolicy:
		return 6
	case keypool.ClassTier, keypool.ClassModel, keypool.ClassAccess, keypool.ClassRegion:
		return 5
	case keypool.ClassRateLimited:
		return 4
	case keypool.ClassOverloaded:
		return 3
	case keypool.ClassUpstream:
		return 2
	case keypool.ClassSlow, keypool.ClassReset, keypool.ClassNotSent, keypool.ClassCanceled:
		return 1
	default:
		return 0
	}
}

// mindsAsking reports whether the provider seems to refuse the request for what
// we have put into it.
func (f *failure) mindsAsking() bool {
	return f.asked && f.verdict.Class == keypool.ClassCaller &&
		(bytes.Contains(f.body, []byte("stream_options")) || bytes.Contains(f.body, []byte("include_usage")))
}

// withoutRest lets go of what was not read of the provider's answer.
func (f *failure) withoutRest() *failure {
	if f.rest != nil {
		_ = f.rest.Close()
		f.rest = nil
	}
	return f
}

// private reports whether the provider's own words must stay with us: they
// may quote our key or speak of our account, and their status would tell the
// client that its own credential is at fault.
func (f *failure) private() bool {
	switch f.verdict.Class {
	case keypool.ClassCredential, keypool.ClassStale:
		return true
	case keypool.ClassQuota:
		// But the client must know that it has asked for too much.
		return !f.verdict.Excess
	}
	return f.status == 0 || f.withheld
}

// response turns the failure into the client's answer: the provider's own
// status and body where it gave one.
func (f *failure) response(in *http.Request, call *Call) *http.Response {
	if f.private() {
		res := refuse(in, call, f.explain())
		call.Outcome = OutcomeError
		return res
	}
	call.Status = f.status
	call.Outcome = OutcomeError
	cleanAnswerHeader(f.header)
	res := newResponse(in, f.status, f.header, f.body)
	if f.rest != nil {
		res.Header.Del("Content-Length")
		res.ContentLength = -1
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(res.Body, f.rest), f.rest}
	}
	return res
}

// explain says in our own words what went wrong with the provider.
func (f *failure) explain() wire.Error {
	if f.withheld && f.status > 0 {
		return wire.Error{Status: f.status, Code: "upstream_error", Message: "the provider refused the request, in words that are not passed on"}
	}
	switch f.verdict.Class {
	case keypool.ClassSlow, keypool.ClassCanceled:
		return timedOut(f.cause)
	case keypool.ClassNotSent, keypool.ClassReset:
		return wire.Error{Status: http.StatusBadGateway, Code: "upstream_unreachable",
			Message: "the connection to the provider failed"}
	case keypool.ClassUpstream:
		return wire.Error{Status: http.StatusBadGateway, Code: "upstream_error",
			Message: "the provider's answer does not fit the request"}
	case keypool.ClassRateLimited:
		return wire.Error{Status: http.StatusTooManyRequests, Code: "rate_limit_exceeded",
			Message: "every provider key for this model is rate limited"}
	case keypool.ClassQuota:
		return wire.Error{Status: http.StatusTooManyRequests, Code: "upstream_quota_exhausted",
			Message: "every provider key for this model has used up its quota"}
	default:
		return wire.Error{Status: http.StatusServiceUnavailable, Code: "no_provider_key",
			Message: "no provider key for this model is working at the moment"}
	}
}

// timedOut says which limit a provider has kept waiting past.
func timedOut(cause error) wire.Error {
	e := wire.Error{Status: http.StatusGatewayTimeout, Code: "upstream_timeout", Message: "the provider did not answer in time"}
	var timeout *timeoutError
	if errors.As(cause, &timeout) {
		e.Message = timeout.message
	}
	return e
}

// exhausted answers a call for which nothing is left to try: with what the
// provider said, or with the time at which a key comes free again.
func (r *rotation) exhausted() *http.Response {
	var res *http.Response
	switch {
	case r.best != nil && (r.cooling == nil || !r.best.private()):
		res = r.best.response(r.in, r.call)
	case r.cooling != nil:
		e := r.explainCooling()
		if r.cooling.Class != keypool.ClassDisabled {
			e.RetryAfter = max(time.Until(r.cooling.Until), 0)
		}
		res = refuse(r.in, r.call, e)
	default:
		res = refuse(r.in, r.call, new(failure).explain())
	}
	r.call.Outcome = OutcomeExhausted
	if r.best != nil {
		r.call.Cause = r.best.cause
	}
	if r.best != nil && r.best.rank() >= 5 {
		r.call.Outcome = OutcomeError // no other key or time would help
	}
	if r.cooling != nil && r.cooling.Class != keypool.ClassDisabled && (res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable) {
		// The pool knows better than one key's answer when to come back.
		wire.StateWait(res.Header, time.Until(r.cooling.Until))
	}
	return res
}

// explainCooling says why no key is asked at the moment.
func (r *rotation) explainCooling() wire.Error {
	if r.cooling.Upstream && r.cooling.Class != keypool.ClassQuota {
		return wire.Error{Status: http.StatusServiceUnavailable, Code: "upstream_unavailable",
			Message: "the provider has failed too often and is left alone for a moment"}
	}
	e := (&failure{verdict: keypool.Verdict{Class: r.cooling.Class}}).explain()
	if r.owner != nil {
		e.Message = "the only provider key that can find what the request refers to is left alone for a moment"
	}
	return e
}

// unknownModel is the answer to a model that no route knows, or to a family
// that no provider speaks.
func (r routes) unknownModel(req *wire.Request) wire.Error {
	if len(r.all[req.Family]) == 0 {
		return wire.Error{Status: http.StatusNotFound, Code: "unknown_path",
			Message: "this path belongs to the API " + req.Family.Name + ", and no provider of that API is configured"}
	}
	return wire.UnknownModel(req.Model)
}

// refuse answers the call ourselves, in its family's own shape.
func refuse(in *http.Request, call *Call, e wire.Error) *http.Response {
	e.RequestID = call.ID
	call.Status, call.Refusal = e.Status, e.Code
	call.Outcome = OutcomeRefused
	body := call.Request.Family.ErrorBody(e)
	header := http.Header{
		"Content-Type": {"application/json"},
		"X-Request-Id": {call.ID},
	}
	wire.StateWait(header, e.RetryAfter)
	return newResponse(in, e.Status, header, body)
}

func newResponse(in *http.Request, status int, header http.Header, body []byte) *http.Response {
	header.Set("Content-Length", strconv.Itoa(len(body)))
	return &http.Response{
		StatusCode:    status,
		Status:        strconv.Itoa(status) + " " + http.StatusText(status),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       in,
	}
}
