// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// Callers are those who may call, and how to tell who is calling.
type Callers struct {
	// Clients are those who may call. A client, or another way to tell who is
	// calling, is needed.
	Clients []*Client `json:"clients,omitempty"`

	// Groups are what several clients have in common.
	Groups []*Group `json:"groups,omitempty"`

	// ClientsFile is a file with more of them, which a placeholder may name: a
	// JSON object whose "clients" are objects as in Clients. It is read again
	// when it changes; as long as it cannot be read, what it said before holds.
	ClientsFile string `json:"clients_file,omitempty"`

	// ClientsStore is where clients are that are added and changed while Caddy
	// runs, over the admin API: storage is Caddy's storage, redis is Redis.
	// Instances that have the same store have the same clients. Those of the
	// config count before those of the store. Default: there are none.
	ClientsStore string `json:"clients_store,omitempty"`

	// Redis is where instances of Caddy share what clients use, and the clients
	// of a ClientsStore that is redis. Default: each counts by itself.
	Redis *redisconf.Redis `json:"redis,omitempty"`

	// JWT lets in callers who bring a JSON Web Token of one of these issuers.
	JWT []*JWT `json:"jwt,omitempty"`

	// Introspection lets in callers whose tokens an issuer calls good when it
	// is asked.
	Introspection *Introspection `json:"introspection,omitempty"`

	// AuthFailures bounds how often an address may come with a wrong key.
	// Default: no bound.
	AuthFailures *AuthFailures `json:"auth_failures,omitempty"`

	directory atomic.Pointer[auth.Directory]
	// groups are the Groups by name.
	groups map[string]group
	// rules hold for everybody who has none of the same kind, and tallies are
	// counted of everybody.
	rules, tallies []limits.Rule
	// costLimited says that a client or a group has a limit in money.
	costLimited atomic.Bool
	// trusting says that clients may be known by their name alone.
	trusting bool
	memory   *memory
	file     *filewatch.File
	managed  managed
	// told and groupsTold are what was said in the log.
	told, groupsTold told
	logger           *zap.Logger
}

// AuthFailures bounds how often an address may come with a wrong key. One
// that has come too often is refused until the window since its first failure
// is over, and its keys are not looked at.
type AuthFailures struct {
	// Limit is the number of wrong keys, at least 1.
	Limit int `json:"limit"`

	// Window is how long they are remembered, at least a second.
	Window caddy.Duration `json:"window"`
}

// maxCredentials bounds how many keys of one request are looked at. SDKs send
// one or two; a guesser would send as many as fit a head.
const maxCredentials = 8

// known tells whether there is anybody who may call.
func (who *Callers) known() bool {
	return who.directory.Load().Len() > 0 || who.vouched() || who.ClientsFile != "" || who.ClientsStore != ""
}

// vouched tells whether somebody else may say who is calling.
func (who *Callers) vouched() bool {
	return len(who.JWT) > 0 || who.Introspection != nil || who.trusting
}

// limitsClaimed tells whether tokens may state limits.
func (who *Callers) limitsClaimed() bool {
	return slices.ContainsFunc(who.JWT, func(j *JWT) bool { return j != nil && j.LimitsClaim != "" }) ||
		who.Introspection != nil && who.Introspection.LimitsClaim != ""
}

// checkFailures refuses bounds that are none.
func (who *Callers) checkFailures() error {
	if f := who.AuthFailures; f != nil && (f.Limit < 1 || f.Window < caddy.Duration(minWindow)) {
		return errors.New("auth_failures: a number of at least 1 and a window of at least a second are needed")
	}
	return nil
}

// checkIssuers refuses issuers whose tokens could not be judged.
func (who *Callers) checkIssuers() error {
	for i, j := range who.JWT {
		if j == nil {
			return fmt.Errorf("jwt %d: null", i+1)
		}
		if err := j.check(who); err != nil {
			return j.line.Wrap(fmt.Errorf("jwt %d (%q): %w", i+1, j.Issuer, err))
		}
	}
	if i := who.Introspection; i != nil {
		if err := i.check(who); err != nil {
			return i.line.Wrap(fmt.Errorf("introspection: %w", err))
		}
	}
	return nil
}

// openIssuers gets ready what tells who brings a token.
func (who *Callers) openIssuers() error {
	if err := who.checkIssuers(); err != nil {
		return err
	}
	if err := who.openJWT(); err != nil {
		return err
	}
	return who.openIntrospection()
}

// close gives back what is shared with other configs, but for the memory.
func (who *Callers) close() error {
	who.file.Close()
	return errors.Join(who.closeJWT(), who.Introspection.cleanup(), who.managed.close())
}

// identify returns the client whose key or token a request brings.
func (who *Callers) identify(r *http.Request) (*auth.Client, *refusal) {
	reason := metrics.AuthMissing
	tried, failed, why := 0, false, ""
	ctx := r.Context()
	if len(who.JWT) > 0 || who.Introspection != nil {
		ctx = auth.WithCaller(ctx, clientAddress(r))
	}
	for secret := range wire.Credentials(r.Header, r.URL) {
		if tried++; tried > maxCredentials {
			break
		}
		client, err := who.find(ctx, secret)
		switch {
		case err == nil:
			return client, nil
		case errors.Is(err, auth.ErrUnjudged):
			reason = metrics.AuthUnavailable
		case reason == metrics.AuthMissing:
			reason = metrics.AuthWrong
		}
		failed = failed || !errors.Is(err, auth.ErrUnjudged) && !errors.Is(err, errBadClaims)
		if why == "" || why == reasonUnknown {
			why = reasonOf(err)
		}
		who.tellOfRefusal(r, err)
	}
	// Who brings no key at all has not guessed one.
	if failed && who.AuthFailures != nil {
		who.memory.failures.Add(time.Now(), clientAddress(r), time.Duration(who.AuthFailures.Window))
	}
	metrics.Process.FailAuth(reason)
	refused := unauthorized()
	if reason == metrics.AuthUnavailable {
		refused = unavailable()
	}
	refused.reason = cmp.Or(why, "missing")
	return nil, refused
}

// reasonUnknown is a key that is nobody's: it tells least.
const reasonUnknown = "unknown_key"

// reasonOf returns in a word why a key or token was refused, for the log.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, errBadClaims):
		return "claims"
	case errors.Is(err, errReplaced):
		return "replaced_key"
	case errors.Is(err, errOtherIssuer):
		return "issuer"
	}
	return cmp.Or(auth.Reason(err), reasonUnknown)
}

// tellOfRefusal logs why a key was refused: loudly where its issuer is at
// fault, for its tokens would be refused again and again.
func (who *Callers) tellOfRefusal(r *http.Request, err error) {
	if errors.Is(err, errBadClaims) && who.told.first(err.Error()) {
		who.logger.Warn("a token was refused; this is said once", zap.Error(err))
	} else if c := who.logger.Check(zapcore.DebugLevel, "a key was refused"); c != nil {
		c.Write(zap.String("request_id", requestID(r)), zap.Error(err))
	}
}

// tellOfGroup logs that somebody names a group that there is not.
func (who *Callers) tellOfGroup(name string) {
	if name = name[:min(len(name), maxGroupName)]; who.groupsTold.first(name) {
		who.logger.Info("a caller is said to belong to a group that there is not; this is said once", zap.String("group", name))
	}
}

// maxGroupName bounds what is logged of a group's name, in bytes.
const maxGroupName = 256

// tooManyFailures refuses an address that came with too many wrong keys.
func (who *Callers) tooManyFailures(r *http.Request) *refusal {
	if who.AuthFailures == nil {
		return nil
	}
	wait := who.memory.failures.Wait(time.Now(), clientAddress(r), who.AuthFailures.Limit, time.Duration(who.AuthFailures.Window))
	if wait <= 0 {
		return nil
	}
	metrics.Process.MeetLimit(metrics.LayerIP, "auth_failures", false)
	refused := addressLayer.refuse(r.Header, wait)
	refused.reason = "auth_failures"
	return refused
}

var (
	errUnknownKey = errors.New("no client has this key")
	// errOtherIssuer is a token that nobody here has an issuer for.
	errOtherIssuer = fmt.Errorf("%w: the token is of another issuer", errUnknownKey)
	// errReplaced is a key that a client had once.
	errReplaced = errors.New("the key has been replaced, and is not valid any more")
	// errStale is a key that may have come to a client which is not known yet.
	errStale = fmt.Errorf("%w: no client that is known has this key, and there may be more in a store that cannot be read", auth.ErrUnjudged)
)

// find returns the client whose key or token a secret is. Only what is not known
// as anybody's key, not even as an old one, and is of no issuer whose keys are
// known is shown to an issuer.
func (who *Callers) find(ctx context.Context, secret string) (*auth.Client, error) {
	directory := who.directory.Load()
	if client, ok := directory.Find(secret, time.Now()); ok {
		return client, nil
	}
	if directory.Has(secret) {
		return nil, errReplaced
	}
	granted, err := who.verify(ctx, secret)
	if errors.Is(err, errUnknownKey) {
		if who.Introspection != nil {
			granted, err = who.Introspection.ask(ctx, who, secret)
		}
		if err != nil && !errors.Is(err, errBadClaims) && who.managed.stale() {
			err = errStale
		}
	}
	if err != nil {
		return nil, err
	}
	return who.vouchedFor(granted), nil
}

// vouchedFor returns the client that somebody vouches for. What the config says
// of a client of that id holds instead of what the voucher says; only its
// models are narrowed.
func (who *Callers) vouchedFor(granted *grant) *auth.Client {
	if client, ok := who.directory.Load().Named(granted.id); ok {
		if len(granted.narrowing) == 0 {
			return client
		}
		narrowed := *client
		narrowed.Narrowing = granted.narrowing
		return &narrowed
	}
	client := &auth.Client{ID: granted.id, Guest: true, Outside: granted.outside, Groups: granted.groups, Narrowing: granted.narrowing}
	who.join(client, granted.limits)
	return client
}
