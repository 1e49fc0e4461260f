// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// answer is the body of the response that the client gets. The provider's
// bytes pass untouched; a scanner reads along. It holds the key's lease until
// it is closed.
type answer struct {
	source io.ReadCloser
	scan   *wire.Scanner
	call   *Call
	lease  keypool.Lease
	began  time.Time
	cancel context.CancelCauseFunc
	ctx    context.Context
	// whole says that the scanner must have seen the end of the answer, or
	// else it was cut off.
	whole bool
	done  bool
	fault error
	// held is what was read before the answer was handed over, and heldErr
	// how that reading ended.
	held    []byte
	heldErr error
	// short is the buffer in which held stands, if it is to be used again.
	short *[maxShort]byte
}

// newAnswer begins to read along res.
func (r *rotation) newAnswer(ctx context.Context, cancel context.CancelCauseFunc, res *http.Response, lease keypool.Lease, began time.Time) *answer {
	request := r.call.Request
	return &answer{
		source: res.Body,
		scan:   wire.NewScanner(request.Operation, res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Content-Encoding")),
		call:   r.call,
		lease:  lease,
		began:  began,
		cancel: cancel,
		ctx:    ctx,
		whole:  request.Stream && request.Operation.Dialect != nil && res.StatusCode == http.StatusOK,
	}
}

// deliver makes a, whose headers are those of res, the answer to the call.
func (r *rotation) deliver(res *http.Response, a *answer) *http.Response {
	cleanAnswerHeader(res.Header)
	r.call.Status = res.StatusCode
	r.call.answer = a
	r.call.dropBody()
	res.Body = a
	res.Request = r.in
	return res
}

// errTruncated is a stream that ended without its family's terminal signal.
// Passing the end on as an ordinary one would present it as success.
var errTruncated = errors.New("the provider's stream ended before its terminal event")

// Read passes on the provider's bytes as they come.
func (a *answer) Read(p []byte) (int, error) {
	if len(a.held) > 0 {
		n := copy(p, a.held)
		if a.held = a.held[n:]; len(a.held) == 0 {
			a.dropHeld()
		}
		return n, nil
	}
	if a.heldErr != nil {
		return 0, a.heldErr
	}
	return a.read(p)
}

// read reads from the provider, and notes what came.
func (a *answer) read(p []byte) (int, error) {
	n, err := a.source.Read(p)
	if n > 0 {
		a.scan.Write(p[:n])
	}
	if err == io.EOF {
		a.scan.Close()
		a.done = true
		if a.whole && a.truncated() {
			err = errTruncated
		}
	}
	if err != nil && err != io.EOF {
		a.fault = err
	}
	if a.call.FirstToken == 0 && a.scan.Started() {
		a.call.FirstToken = time.Since(a.call.Started)
	}
	return n, err
}

// truncated reports whether a stream that is over lacks its end. Of one that
// says nothing we understand, it cannot be said.
func (a *answer) truncated() bool {
	understood := a.scan.Started() || a.scan.Result().Model != ""
	return understood && !a.scan.Ended() && a.scan.Failure() == nil
}

// Close ends the answer: the provider's connection is released or broken off,
// the key gets its verdict, and the call its result.
func (a *answer) Close() error {
	if a.call.answer != a {
		return nil
	}
	a.call.answer = nil
	a.dropHeld()
	a.call.Result = a.scan.Result()
	verdict := a.verdict()
	err := a.source.Close()
	a.cancel(nil)
	a.lease.Report(keypool.Outcome{
		Verdict:    verdict,
		Latency:    time.Since(a.began),
		FirstToken: a.call.FirstToken,
	})
	a.scan.Release()
	return err
}

// verdict says how the answer went, and sets the call's outcome.
func (a *answer) verdict() keypool.Verdict {
	failure := a.scan.Failure()
	switch {
	case failure != nil:
		a.call.Outcome = OutcomeBroken
		return a.call.Request.Judge(http.StatusOK, nil, failure, time.Now())
	case a.scan.Ended() || a.done && a.fault == nil:
		a.call.Outcome = OutcomeOK
		return keypool.Verdict{Class: keypool.ClassOK}
	case a.ctx.Err() != nil || a.fault == nil:
		// Nobody read to the end, and no fault was seen: the client is gone.
		a.call.Outcome = OutcomeCanceled
		return keypool.Verdict{Class: keypool.ClassCanceled}
	default:
		a.call.Outcome = OutcomeBroken
		return keypool.Verdict{Class: keypool.ClassBroken}
	}
}
