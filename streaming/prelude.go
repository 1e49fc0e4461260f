// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// How much of a stream is held back until its first generated event. What
// comes before that (role-only chunks, pings, "response created") tells the
// client nothing yet, so that an error among it can still be mended.
const (
	maxHeldBytes  = 256 << 10
	maxHeldEvents = 16
)

// hold reads the answer until it generates something, is over, or has been
// silent about that for too long. What was read is passed on first, byte for
// byte. It returns a failure if the stream said that it had failed, or broke,
// before anything was generated; the answer is closed then.
func (a *answer) hold() *failure {
	buffer := make([]byte, 4<<10)
	for !a.scan.Started() && !a.scan.Ended() && len(a.held) < maxHeldBytes && a.scan.Result().Events < maxHeldEvents {
		n, err := a.read(buffer)
		a.held = append(a.held, buffer[:n]...)
		if failure := a.scan.Failure(); failure != nil {
			return a.failed(failure)
		}
		if err != nil {
			a.heldErr = err
			break
		}
	}
	if a.heldErr != nil && a.heldErr != io.EOF && !a.scan.Started() {
		return &failure{verdict: keypool.Verdict{Class: classifyFault(a.ctx, a.heldErr)}, cause: a.heldErr}
	}
	return nil
}

// failed judges an error that came as part of a stream whose status was 200.
func (a *answer) failed(body []byte) *failure {
	request := a.call.Request
	verdict := request.Judge(http.StatusOK, http.Header{}, body, time.Now())
	status := statusOf(verdict.Class)
	var shape struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &shape) != nil || !bytes.HasPrefix(shape.Error, []byte("{")) {
		body = request.Family.ErrorBody(wire.Error{Status: status, Code: "upstream_error",
			Message: "the provider reported an error before it answered", RequestID: a.call.ID})
	}
	return &failure{
		verdict: verdict,
		status:  status,
		header:  http.Header{"Content-Type": {"application/json"}},
		body:    bytes.Clone(body),
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
