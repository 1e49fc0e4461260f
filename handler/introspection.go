// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/credentials/guest"
	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Introspection lets in callers who bring a token that its issuer calls good
// when it is asked (RFC 7662). What is known as a client's key, and the tokens
// of issuers whose keys are known, are never shown to it.
type Introspection struct {
	// URL is the issuer's introspection endpoint. Placeholders in it, and in
	// ClientID and ClientSecret, are evaluated when the config is loaded.
	URL string `json:"url"`

	// ClientID is what the issuer knows us by.
	ClientID string `json:"client_id"`

	// ClientSecret is our secret with the issuer, usually a placeholder such
	// as {env.INTROSPECTION_SECRET}.
	ClientSecret string `json:"client_secret"`

	// Issuer is the iss that the answer must have. Default: any.
	Issuer string `json:"issuer,omitempty"`

	// Audience is what the aud in the answer must name one of. Default: any.
	Audience []string `json:"audience,omitempty"`

	// Cache is for how long an answer that a token is good is believed without
	// asking again, though not longer than the token is valid. One that it is
	// not is believed for 10 seconds. Default: 1m.
	Cache caddy.Duration `json:"cache,omitempty"`

	// Stale is for how long it is believed where the issuer cannot be asked.
	// Default: 10m.
	Stale caddy.Duration `json:"stale,omitempty"`

	// Timeout is how long a call waits for its turn to ask the issuer, and then
	// for the answer. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// MaxInFlight is how many questions may be under way, half of them for the
	// tokens from one address. Default: 16.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// MaxRate is how many questions there may be in a second, half of them for
	// tokens from one address that are not good. Default: 100.
	MaxRate int `json:"max_rate,omitempty"`

	Claims

	line         syntax.Line
	introspector *auth.Introspector
	pooled       auth.Digest
}

const (
	defaultCache       = time.Minute
	defaultStale       = 10 * time.Minute
	defaultAskTimeout  = 5 * time.Second
	defaultAskInFlight = 16
	defaultAskRate     = 100
	// refusedFor is for how long a token that is not good is not asked about
	// again.
	refusedFor = 10 * time.Second
	// maxAnswer bounds an issuer's answer, in bytes.
	maxAnswer = 32 << 10
)

// introspectors remember what issuers have said. They outlive the configs, so
// that a reload asks nothing anew.
var introspectors = caddy.NewUsagePool()

type pooledIntrospector struct{ auth.Introspector }

// Destruct has nothing to end: questions under way end by themselves.
func (*pooledIntrospector) Destruct() error { return nil }

// openIntrospection gets ready what asks an issuer about tokens.
func (who *Callers) openIntrospection() error {
	if who.Introspection == nil {
		return nil
	}
	if err := who.Introspection.provision(); err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	return nil
}

// check refuses what nobody can be asked with. An option that is a placeholder
// is looked at when it is evaluated.
func (i *Introspection) check(who *Callers) error {
	switch {
	case i.URL == "" || i.ClientID == "" || i.ClientSecret == "":
		return errors.New("url, client_id and client_secret are needed")
	case i.Cache < 0 || i.Stale < 0 || i.Timeout < 0 || i.MaxInFlight < 0 || i.MaxRate < 0:
		return errors.New("cache, stale, timeout, max_in_flight and max_rate: must not be negative")
	}
	return i.Claims.check(who)
}

func (i *Introspection) provision() error {
	resolver := guest.NewResolver()
	endpoint, id, secret := resolver.Needed("url", i.URL), resolver.Needed("client_id", i.ClientID), resolver.Needed("client_secret", i.ClientSecret)
	if err := resolver.Err(); err != nil {
		return err
	}
	at, err := url.Parse(endpoint)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil {
		return errors.New("the URL should look like https://id.example.com/oauth2/introspect, with no user in it")
	}
	i.setDefaults()
	limits := fmt.Sprint(i.Cache, i.Stale, i.Timeout, i.MaxInFlight, i.MaxRate)
	pooled := auth.HashSecret(strings.Join([]string{endpoint, id, secret, limits}, "\x00"))
	shared, _, err := introspectors.LoadOrNew(pooled, func() (caddy.Destructor, error) {
		return i.newIntrospector(endpoint, id, keypool.NewSecret(secret)), nil
	})
	if err != nil {
		return err
	}
	i.introspector, i.pooled = &shared.(*pooledIntrospector).Introspector, pooled
	return nil
}

func (i *Introspection) setDefaults() {
	for _, option := range []struct {
		value  *caddy.Duration
		normal time.Duration
	}{{&i.Cache, defaultCache}, {&i.Stale, defaultStale}, {&i.Timeout, defaultAskTimeout}} {
		if *option.value == 0 {
			*option.value = caddy.Duration(option.normal)
		}
	}
	if i.MaxInFlight == 0 {
		i.MaxInFlight = defaultAskInFlight
	}
	if i.MaxRate == 0 {
		i.MaxRate = defaultAskRate
	}
}

// newIntrospector returns one that may outlive the config, so its logger is
// Caddy's own.
func (i *Introspection) newIntrospector(endpoint, id string, secret keypool.Secret) *pooledIntrospector {
	made := new(pooledIntrospector)
	made.Ask = func(ctx context.Context, token string) ([]byte, error) {
		return askIssuer(ctx, endpoint, id, secret, token)
	}
	made.Fresh, made.Stale, made.Refused = time.Duration(i.Cache), time.Duration(i.Stale), refusedFor
	made.Timeout, made.MaxInFlight, made.MaxRate = time.Duration(i.Timeout), i.MaxInFlight, i.MaxRate
	made.Now = time.Now
	made.Report = func(err error) {
		logger := caddy.Log().Named("http.handlers.llm_proxy").With(zap.String("introspection", endpoint))
		if err == nil {
			logger.Info("the issuer can be asked about tokens again")
			return
		}
		logger.Warn("the issuer cannot be asked about tokens; those that it has called good serve on for a while", zap.Error(err))
	}
	made.Init()
	return made
}

// cleanup gives back what is remembered.
func (i *Introspection) cleanup() error {
	if i == nil || i.introspector == nil {
		return nil
	}
	_, err := introspectors.Delete(i.pooled)
	return err
}

// ask returns what the issuer says of a token's client.
func (i *Introspection) ask(ctx context.Context, who *Callers, token string) (*grant, error) {
	claims, err := i.introspector.Introspect(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := claims.Check(i.Issuer, i.Audience); err != nil {
		return nil, err
	}
	return i.grant(who, claims)
}

// askIssuer asks an introspection endpoint about a token. Its errors hold
// neither the token nor the secret.
func askIssuer(ctx context.Context, endpoint, id string, secret keypool.Secret, token string) ([]byte, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Both are encoded first, as RFC 6749 wants it.
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret.Reveal()))
	res, err := guest.Client.Do(req)
	if err != nil {
		return nil, guest.Explain(err, token, secret.Reveal())
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return filewatch.ReadAtMost(res.Body, maxAnswer)
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return nil, fmt.Errorf("%w: it answers %s", auth.ErrStrange, res.Status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("the issuer answers %s: client_id and client_secret may be wrong, or not be allowed to ask", res.Status)
	}
	return nil, fmt.Errorf("the issuer answers %s", res.Status)
}

// parseIntrospection parses "introspection <URL> { … }".
func (who *Callers) parseIntrospection(d *caddyfile.Dispenser) error {
	if who.Introspection != nil {
		return d.Err("introspection: already specified")
	}
	i := &Introspection{line: syntax.At(d)}
	if !d.AllArgs(&i.URL) {
		return d.Err("introspection: wants the URL of an introspection endpoint, such as https://id.example.com/oauth2/introspect")
	}
	block := i.Claims.options()
	maps.Copy(block, map[string]any{
		"client_id": &i.ClientID, "client_secret": &i.ClientSecret, "issuer": &i.Issuer, "audience": &i.Audience,
		"cache": &i.Cache, "stale": &i.Stale, "timeout": &i.Timeout, "max_in_flight": &i.MaxInFlight, "max_rate": &i.MaxRate,
	})
	if err := block.parse(d, "introspection"); err != nil {
		return err
	}
	who.Introspection = i
	return nil
}
