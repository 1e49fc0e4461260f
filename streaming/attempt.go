// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// errHeadersTimeout is why an attempt was given up that got no headers.
var errHeadersTimeout = errors.New("no response headers in time")

// maxErrorBody is how much of an error answer is read to judge it, in bytes.
const maxErrorBody = 64 << 10

// attempt makes one round trip. It returns either a response for the client,
// whose body holds the lease until it is closed, or the failure.
func (r *rotation) attempt(ctx context.Context, to target, lease keypool.Lease) (*http.Response, *failure) {
	r.call.Provider, r.call.KeyID = to.provider.Name, lease.KeyID()
	r.call.TargetModel = to.modelFor(r.call.Request.Model)

	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.transport.headersTimeout(r.call.Request.Stream), func() { cancel(errHeadersTimeout) })
	res, err := to.provider.transport.RoundTrip(r.outgoing(ctx, to, lease.Secret()))
	if err != nil {
		timer.Stop()
		f := &failure{verdict: keypool.Verdict{Class: classifyFault(ctx, err)}, cause: err}
		cancel(nil)
		r.report(to, lease, f.verdict, time.Since(began))
		return nil, f
	}

	if res.StatusCode < 400 {
		timer.Stop()
		return r.accept(ctx, cancel, to, lease, res, began)
	}

	// The timer goes on: it bounds reading the error, too.
	f := r.readFailure(ctx, res, cancel)
	timer.Stop()
	r.report(to, lease, f.verdict, time.Since(began))
	return nil, f
}

// accept takes an answer that begins well. A stream is held back until it has
// generated something: until then it can still turn out to be a failure.
func (r *rotation) accept(ctx context.Context, cancel context.CancelCauseFunc, to target, lease keypool.Lease, res *http.Response, began time.Time) (*http.Response, *failure) {
	a := r.newAnswer(ctx, cancel, res, lease, began)
	if a.whole {
		if f := a.hold(); f != nil {
			_ = res.Body.Close()
			cancel(nil)
			a.scan.Release()
			r.report(to, lease, f.verdict, time.Since(began))
			return nil, f
		}
	} else {
		a.measure(res)
	}
	r.call.record(Attempt{Provider: to.provider.Name, KeyID: lease.KeyID(), Duration: time.Since(began)})
	return r.deliver(res, a), nil
}

// readFailure reads as much of an error answer as it takes to judge it.
func (r *rotation) readFailure(ctx context.Context, res *http.Response, cancel context.CancelCauseFunc) *failure {
	defer cancel(nil)
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil && ctx.Err() != nil {
		return &failure{verdict: keypool.Verdict{Class: classifyFault(ctx, err)}, cause: err}
	}
	return &failure{
		verdict: r.call.Request.Judge(res.StatusCode, res.Header, body, time.Now()),
		status:  res.StatusCode,
		header:  res.Header,
		body:    body,
	}
}

// classifyFault says what the failure of a round trip means, by whether the
// request can have left.
func classifyFault(ctx context.Context, err error) keypool.Class {
	switch {
	case errors.Is(context.Cause(ctx), errHeadersTimeout):
		return keypool.ClassSlow
	case ctx.Err() != nil:
		return keypool.ClassCanceled
	case beforeSending(err):
		return keypool.ClassNotSent
	default:
		return keypool.ClassReset
	}
}

// beforeSending reports whether err arose while the connection was being set
// up, so that no byte of the request has left.
func beforeSending(err error) bool {
	var (
		dial   reverseproxy.DialError
		op     *net.OpError
		dns    *net.DNSError
		record tls.RecordHeaderError
		alert  tls.AlertError
		cert   *tls.CertificateVerificationError
		host   x509.HostnameError
	)
	return errors.As(err, &dial) ||
		errors.As(err, &op) && op.Op == "dial" ||
		errors.As(err, &dns) ||
		errors.As(err, &record) ||
		errors.As(err, &alert) ||
		errors.As(err, &cert) ||
		errors.As(err, &host)
}
