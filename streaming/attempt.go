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

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// errSwitched is an answer that wants to change the protocol unasked.
var errSwitched = errors.New("the provider switched protocols unasked")

// errNoStatus is an answer whose status is none, such as 042.
var errNoStatus = errors.New("the provider's answer has a status that there is not")

// errorTime is how long an error answer is read to judge it.
const errorTime = 2 * time.Second

// maxErrorBody is how much of an error answer is read to judge it, in bytes, and
// maxDecodedError how much of that is passed on if it was encoded.
const (
	maxErrorBody    = 64 << 10
	maxDecodedError = 1 << 20
)

// attempt asks a provider with a key. If what the key was lent is refused, it
// asks once more with what is lent in its place; only if that is refused, too,
// it is the key's failure.
func (r *rotation) attempt(ctx context.Context, to target, lease keypool.Lease, last bool) (*leg, *failure) {
	waiting, cancel := r.waiting(ctx, to)
	defer cancel()
	with, err := to.provider.credential(waiting, lease.KeyID(), lease.Secret())
	if err != nil {
		return nil, r.withoutCredential(to, lease, err)
	}
	began := time.Now()
	l, f := r.send(ctx, to, lease, with, last)
	if f != nil && with.mayHaveExpired(f.verdict) {
		renewed, err := with.renewed(waiting)
		if !errors.Is(err, credentials.ErrSame) {
			r.note(to, lease, keypool.Verdict{Class: keypool.ClassStale, Detail: f.verdict.Detail}, time.Since(began))
			if err != nil {
				return nil, r.withoutCredential(to, lease, err)
			}
			began = time.Now()
			l, f = r.send(ctx, to, lease, renewed, last)
		}
		if f != nil && f.verdict.Class == keypool.ClassStale {
			f.verdict.Class = keypool.ClassCredential
		}
	}
	if f != nil {
		r.report(to, lease, f.verdict, time.Since(began))
		to.share.failed(began, f.verdict, true)
	}
	return l, f
}

// send makes one round trip. It returns either a leg that has begun well and
// holds the lease until it is closed, or the failure.
func (r *rotation) send(ctx context.Context, to target, lease keypool.Lease, with credential, last bool) (*leg, *failure) {
	call, limits := r.call, &r.transport.Timeouts
	call.Provider, call.KeyID = to.provider.Name, lease.KeyID()
	call.Service = to.provider.serviceName()
	call.TargetModel, call.ModelConfigured = to.modelFor(call.Request.Model), to.named

	began := time.Now()
	if call.Sent == 0 {
		call.Sent = max(began.Sub(call.Started), 1)
	}
	l := &leg{
		to: to, lease: lease, veil: veil{secret: with.secret}, call: call, began: began, limits: limits, client: ctx,
		urgent: call.Request.Stream && !last && limits.FirstToken > 0,
	}
	if r.transport.OnDisconnect == disconnectDrain {
		l.ctx, l.cancel, l.detach = detachable(ctx)
	} else {
		l.ctx, l.cancel = context.WithCancelCause(ctx)
	}
	l.watch = newWatch(l.cancel, r.until)
	l.cancel = l.watch.end
	body, asks := r.body(to)
	out, err := r.outgoing(l.ctx, to, with, body)
	if err != nil {
		l.cancel(nil)
		return nil, unsigned(err)
	}
	l.watch.arm(r.headersLimit(l.urgent))
	res, err := to.provider.transport.RoundTrip(out) //nolint:bodyclose // the leg closes it
	l.watch.disarm()
	switch {
	case err != nil:
		if cause := context.Cause(l.ctx); cause != nil {
			err = cause
		}
		l.cancel(nil)
		return nil, r.fault(err)
	case res.StatusCode >= 400:
		l.response = res
		f := r.readFailure(l)
		f.asked = asks
		return nil, f
	}
	l.response = res
	dropValues(res.Header, with.secret)
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols, call.Request.Operation.Session:
		return r.switched(l, out.Header)
	case res.StatusCode < http.StatusOK: // which nobody could pass on
		l.drop()
		return nil, &failure{verdict: keypool.Verdict{Class: keypool.ClassUpstream}, cause: errNoStatus}
	}
	return r.begin(l, asks)
}

// headersLimit returns how long to wait for the headers: for those of a
// stream no longer than for its first token.
func (r *rotation) headersLimit(urgent bool) (time.Duration, *timeoutError) {
	limits := &r.transport.Timeouts
	headers := limits.headers(r.call.Request.Stream)
	if first := time.Duration(limits.FirstToken); urgent && (headers <= 0 || first < headers) {
		return first, errFirstTokenTimeout
	}
	return headers, errHeadersTimeout
}

// readFailure reads as much of an error answer as it takes to judge it. What
// is more than that goes to the client only if it is the client's answer.
func (r *rotation) readFailure(l *leg) *failure {
	l.watch.arm(errorTime, errHeadersTimeout)
	sent, err := io.ReadAll(io.LimitReader(l.response.Body, maxErrorBody))
	l.watch.disarm()
	f := &failure{status: l.response.StatusCode, header: l.response.Header}
	encoded := f.decode(sent)
	f.verdict = l.to.provider.rules.Judge(r.call.Request, f.status, f.header, f.body, time.Now())
	if err == nil && len(sent) == maxErrorBody && !encoded && f.verdict.Next() == keypool.Answer {
		f.rest = restOf{l.response.Body, l.watch, time.Duration(l.limits.Idle), l.cancel}
	}
	f.hideSecret(l.veil.secret)
	if f.rest != nil {
		// The key may begin here and end there.
		f.body = l.veil.Write(nil, f.body)
		f.rest = &veiled{ReadCloser: f.rest, veil: l.veil}
		return f
	}
	_ = l.response.Body.Close()
	l.cancel(nil)
	if err != nil && r.in.Context().Err() != nil {
		return r.fault(context.Cause(r.in.Context()))
	}
	return f
}

// decode takes the body without its encoding, in which the key could hide, and
// reports whether it had one.
func (f *failure) decode(sent []byte) (encoded bool) {
	f.body, encoded, f.withheld = wire.Plain(f.header, sent, maxDecodedError)
	if !f.withheld {
		delete(f.header, "Content-Encoding")
	}
	return encoded
}

// restOf is what an error answer holds behind the part that was judged. It may
// pause no longer than any other answer.
type restOf struct {
	io.ReadCloser
	watch  *watch
	idle   time.Duration
	cancel context.CancelCauseFunc
}

func (r restOf) Read(p []byte) (int, error) {
	r.watch.arm(r.idle, errIdleTimeout)
	defer r.watch.disarm()
	return r.ReadCloser.Read(p)
}

func (r restOf) Close() error {
	defer r.cancel(nil)
	return r.ReadCloser.Close()
}

// fault says what it means that a round trip failed, or its answer before it
// had generated anything: by whether the request can have left.
func (r *rotation) fault(err error) *failure {
	class := keypool.ClassReset
	var late net.Error
	switch {
	case r.in.Context().Err() != nil, errors.Is(err, errTotalTimeout):
		class = keypool.ClassCanceled
	case beforeSending(err):
		class = keypool.ClassNotSent
	case errors.As(err, &late) && late.Timeout():
		class = keypool.ClassSlow
	}
	return &failure{verdict: keypool.Verdict{Class: class}, cause: err}
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
