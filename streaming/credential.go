// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// credential is what one attempt is made with: a key's own secret, or what the
// key was lent.
type credential struct {
	// secret must not get out, whichever it is. It is empty where there is no
	// key.
	secret keypool.Secret
	// grant is what was lent, by keeper; nil for a key that has a secret.
	grant  *credentials.Grant
	keeper *credentials.Keeper
}

// credential returns what to ask with a key with, given the key's secret.
func (p *Provider) credential(ctx context.Context, keyID string, secret keypool.Secret) (credential, error) {
	if p.keyless {
		return credential{}, nil
	}
	keeper := p.keepers[keyID]
	if keeper == nil {
		return credential{secret: secret}, nil
	}
	grant, err := keeper.Get(ctx)
	if err != nil {
		return credential{}, err
	}
	return credential{secret: grant.Secret, grant: grant, keeper: keeper}, nil
}

// place puts the credential, and what else the provider wants, into a header.
// A signature comes later.
func (c credential) place(p *Provider, h http.Header) {
	signs := c.grant != nil && c.grant.Sign != nil
	switch {
	case signs, c.secret.Empty():
		p.family.AuthorizeBearer(h, "")
	case c.grant == nil || p.AuthHeader != nil:
		p.authorize(h, c.secret.Reveal())
	default:
		p.family.AuthorizeBearer(h, c.secret.Reveal())
	}
	p.addHeaders(h)
}

// sign puts a signature on a request that is complete, if it needs one.
func (c credential) sign(req *http.Request, body []byte) error {
	if c.grant == nil || c.grant.Sign == nil {
		return nil
	}
	return c.grant.Sign(req, body)
}

// unsigned is an attempt that was not made as it could not be signed.
func unsigned(err error) *failure {
	return &failure{verdict: keypool.Verdict{Class: keypool.ClassCredential, Detail: "signing: " + err.Error()}, cause: err}
}

// mayHaveExpired reports whether another credential could mend a failure. A
// provider need not say that a token has expired: to many it is just wrong.
func (c credential) mayHaveExpired(v keypool.Verdict) bool {
	return c.grant != nil && (v.Class == keypool.ClassStale || v.Class == keypool.ClassCredential)
}

// renewed returns what is lent in place of a credential that was refused.
func (c credential) renewed(ctx context.Context) (credential, error) {
	grant, err := c.keeper.Renew(ctx, c.grant)
	if err != nil {
		return credential{}, err
	}
	return credential{secret: grant.Secret, grant: grant, keeper: c.keeper}, nil
}

// waiting bounds the wait for a credential by the end of the call.
func (r *rotation) waiting(ctx context.Context, to target) (context.Context, context.CancelFunc) {
	if to.provider.keepers == nil || r.until.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, r.until)
}

// withoutCredential gives back a key that there is no credential for at the
// moment. That is the issuer's doing, not the key's.
func (r *rotation) withoutCredential(to target, lease keypool.Lease, err error) *failure {
	var unavailable *credentials.UnavailableError
	if errors.As(err, &unavailable) {
		lease.Return(unavailable.Until)
	} else { // the client is gone, or the call's time is up
		lease.Report(keypool.Outcome{Verdict: keypool.Verdict{Class: keypool.ClassCanceled}})
	}
	if c := r.transport.logger.Check(zap.DebugLevel, "key passed over"); c != nil {
		c.Write(zap.String("request_id", r.call.ID), zap.String("provider", to.provider.Name),
			zap.String("key", lease.KeyID()), zap.Error(err))
	}
	return &failure{verdict: keypool.Verdict{Class: keypool.ClassStale}, cause: briefly(err, lease.Secret())}
}
