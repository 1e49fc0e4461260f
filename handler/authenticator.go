// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming/events"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	caddy.RegisterModule(new(Authenticator))
}

// Authenticator lets the callers of llm_proxy in to any other handler: it is a
// provider of Caddy's authentication. It only tells who is calling; what a
// client may use is for the llm_proxy handler to say.
//
// It sets these placeholders:
//
// Placeholder | Description
// ------------|---------------
// `{http.auth.user.id}` | The client that called
// `{http.auth.user.groups}` | Its groups, with commas between
// `{http.auth.llm.error}` | Why nobody was let in, such as `invalid_api_key` or `auth_unavailable`
type Authenticator struct {
	Callers

	// events tell when the config comes into force.
	events *events.Emitter
}

// CaddyModule returns the Caddy module information.
func (*Authenticator) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.llm",
		New: func() caddy.Module { return new(Authenticator) },
	}
}

// Provision gets ready what tells who is calling.
func (a *Authenticator) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if err := metrics.Process.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	var err error
	if a.memory, err = openMemory(); err != nil {
		return err
	}
	if a.events, err = events.New(ctx, a.managed.begin); err != nil {
		return err
	}
	for _, open := range []func() error{a.openGroups, a.openIssuers} {
		if err := open(); err != nil {
			return err
		}
	}
	return a.openClients(ctx)
}

// Validate refuses a config that would let nobody in, or that says what would
// not hold.
func (a *Authenticator) Validate() error {
	switch {
	case !a.known():
		return errors.New("nobody may call: add 'client <id> <sha256:…>' (caddy llm hash-key makes one), or another way to tell who is calling")
	case a.saysWhatMayBeUsed():
		return errors.New("models, providers and limits do not hold here, where only is found out who is calling: they belong into llm_proxy")
	case a.Redis != nil && a.ClientsStore != storeRedis:
		return errors.New("redis: nothing is counted here, so it only serves for 'clients redis'")
	}
	return a.checkFailures()
}

// saysWhatMayBeUsed tells whether the config itself has models, providers or limits. A
// file of clients may: llm_proxy may share it.
func (a *Authenticator) saysWhatMayBeUsed() bool {
	claims := make([]*Claims, 0, len(a.JWT)+1)
	for _, j := range a.JWT {
		claims = append(claims, &j.Claims)
	}
	if a.Introspection != nil {
		claims = append(claims, &a.Introspection.Claims)
	}
	return slices.ContainsFunc(claims, func(c *Claims) bool { return c.ModelsClaim != "" || c.LimitsClaim != "" }) ||
		slices.ContainsFunc(a.Clients, func(c *Client) bool { return len(c.Models)+len(c.Providers)+len(c.Limits) > 0 }) ||
		slices.ContainsFunc(a.Groups, func(g *Group) bool { return len(g.Models)+len(g.Providers)+len(g.Limits) > 0 })
}

// Authenticate tells who is calling.
func (a *Authenticator) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	user, refused := a.admit(r)
	if refused == nil {
		return user, true, nil
	}
	refused.setHeader(w.Header())
	caddyhttp.SetVar(r.Context(), refusalVar, refused)
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Set("http.auth.llm.error", refused.Code)
	if c := a.logger.Check(zapcore.InfoLevel, "a caller was not let in"); c != nil && refused.reason != "" {
		c.Write(zap.String("request_id", requestID(r)), zap.String("llm_code", refused.Code), zap.String("llm_auth_reason", refused.reason))
	}
	return user, false, nil
}

// admit returns the user that a request is of. With a refusal, it is who was
// found but may not come.
func (a *Authenticator) admit(r *http.Request) (caddyauth.User, *refusal) {
	if refused := a.tooManyFailures(r); refused != nil {
		return caddyauth.User{}, refused
	}
	client, refused := a.identify(r)
	if refused != nil {
		return caddyauth.User{}, refused
	}
	return userOf(client), a.mayCome(client, r, time.Now())
}

func userOf(client *auth.Client) caddyauth.User {
	user := caddyauth.User{ID: client.ID}
	if len(client.Groups) > 0 {
		user.Metadata = map[string]string{"groups": strings.Join(client.Groups, ",")}
	}
	return user
}

// Cleanup gives back what is shared with other configs.
func (a *Authenticator) Cleanup() error {
	a.events.Close()
	err := a.close()
	if a.memory != nil {
		err = errors.Join(err, closeMemory())
	}
	return err
}

// UnmarshalCaddyfile sets up the authenticator from Caddyfile tokens. Syntax:
//
//	llm_auth {
//		<those options of llm_proxy that tell who is calling: client, group,
//		clients, redis, jwt, introspection, auth_failures>
//	}
func (a *Authenticator) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return parseDirective(d, a.parseOption, func(line syntax.Line) error {
		if err := a.finishCaddyfile(line); err != nil {
			return err
		}
		return line.Wrap(a.Validate())
	}, callersOptions()...)
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Authenticator)(nil)
	_ caddy.Validator         = (*Authenticator)(nil)
	_ caddy.CleanerUpper      = (*Authenticator)(nil)
	_ caddyauth.Authenticator = (*Authenticator)(nil)
	_ caddyfile.Unmarshaler   = (*Authenticator)(nil)
)
