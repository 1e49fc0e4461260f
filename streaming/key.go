// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Key is one provider credential.
type Key struct {
	// ID is what the key is called in logs and metrics, in place of its
	// secret. Default: a short hash of the secret, or of whose credentials it
	// is lent.
	ID string `json:"id,omitempty"`

	// Secret is the credential. Placeholders such as {env.OPENAI_API_KEY} or
	// {file./run/secrets/key} are evaluated when the config is loaded, and
	// keep the secret out of the config.
	Secret string `json:"secret,omitempty"`

	// CredentialsRaw obtains the credential in place of Secret, if it is lent
	// for a time: a token, or keys that requests are signed with.
	CredentialsRaw json.RawMessage `json:"credentials,omitempty" caddy:"namespace=llm.credentials inline_key=source"`

	// None says that the provider is asked without a key. It then has no other,
	// and what else is said here holds for all calls. Default: false; but a
	// server that anybody may run, such as ollama or vllm, needs no key.
	None bool `json:"none,omitempty"`

	// Weight is the key's share of the calls under the weighted policy.
	// Default: 1.
	Weight int `json:"weight,omitempty"`

	// Tier is the key's tier of service. A key of a higher tier is used only
	// when the lower ones have none that is free. Default: 0.
	Tier int `json:"tier,omitempty"`

	// Account is whose key it is: keys of one account share its rate limits
	// and its quota. Default: none is shared.
	Account string `json:"account,omitempty"`

	// Models are patterns of the models that the key may be used for. An
	// asterisk stands for any text, also none. Default: all.
	Models []string `json:"models,omitempty"`

	// MaxInFlight is how many calls may use the key at a time.
	// Default: any number.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// Requests and Tokens are the key's limits, for providers that do not
	// tell what is left of them. Default: none.
	Requests *KeyLimit `json:"requests,omitempty"`
	Tokens   *KeyLimit `json:"tokens,omitempty"`

	// Expires is when the key ceases to be used: a day, such as 2027-01-31,
	// which is the first on which it is not used, in UTC, or a moment, such as
	// 2027-01-31T12:00:00Z. Default: never.
	Expires string `json:"expires,omitempty"`

	line syntax.Line
}

// KeyLimit is how much of a key may be used in a window of time, which moves
// on evenly.
type KeyLimit struct {
	// Max is how many.
	Max int `json:"max"`

	// Window is the time in which so many may be used. Default: 1m.
	Window caddy.Duration `json:"window,omitempty"`
}

// resolveKey makes a key ready for the pool. Where its credentials are lent,
// the pool knows it by whose they are.
func (p *Provider) resolveKey(ctx caddy.Context, repl *caddy.Replacer, key *Key) (keypool.Key, error) {
	if key.CredentialsRaw != nil {
		from, identity, err := key.loadSource(ctx, p)
		if err != nil {
			return keypool.Key{}, err
		}
		ready, err := key.ready(identity)
		if ready.ID == "" {
			ready.ID = "key-" + keypool.Fingerprint(identity)
		}
		if p.lenders == nil {
			p.lenders = map[string]*lender{}
		}
		p.lenders[ready.ID] = from
		return ready, err
	}
	secret, err := key.resolveSecret(repl)
	if err == nil {
		err = p.checkSecret(secret)
	}
	if err != nil {
		return keypool.Key{}, err
	}
	return key.ready(secret)
}

// checkSecret refuses a secret that cannot be sent.
func (p *Provider) checkSecret(secret string) error {
	if secret == noKey {
		return errors.New("the word none is no secret: a provider that answers without a key has 'key none' and no other")
	}
	if p.family.NeedsSignature(secret) {
		return errors.New("an AWS access key, with which requests have to be signed: put it into 'key { credentials aws { … } }', or use a Bedrock API key")
	}
	return nil
}

// resolveSecret evaluates the placeholders of the key's secret.
func (k *Key) resolveSecret(repl *caddy.Replacer) (string, error) {
	secret, err := repl.ReplaceOrErr(k.Secret, true, true)
	if err == nil && strings.ContainsFunc(secret, unicode.IsControl) {
		err = errors.New("the secret has a line break or another control character in it; several secrets go into 'keys'")
	}
	return secret, err
}

// ready makes the key ready for a pool. Of a key that is lent its credentials
// secret is whose they are.
func (k *Key) ready(secret string) (keypool.Key, error) {
	expires, err := parseDate(k.Expires)
	if err != nil {
		return keypool.Key{}, fmt.Errorf("expires: %w", err)
	}
	return keypool.Key{
		ID:          k.ID,
		Secret:      keypool.NewSecret(secret),
		Weight:      k.Weight,
		Tier:        k.Tier,
		Account:     k.Account,
		Models:      k.Models,
		MaxInFlight: k.MaxInFlight,
		Requests:    k.Requests.rate(),
		Tokens:      k.Tokens.rate(),
		Expires:     expires,
	}, nil
}

func (l *KeyLimit) rate() keypool.Rate {
	if l == nil {
		return keypool.Rate{}
	}
	return keypool.Rate{N: l.Max, Per: time.Duration(l.Window)}
}

// parseDate reads a day or a moment. The zero time is for "".
func parseDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a day such as 2027-01-31 nor a moment such as 2027-01-31T12:00:00Z", s)
	}
	return at, nil
}

func (p *Provider) parseKey(d *caddyfile.Dispenser) error {
	key := &Key{line: syntax.At(d)}
	if d.NextArg() {
		if key.Secret = d.Val(); key.Secret == "" {
			return d.Err("an empty key: if it comes from {$VARIABLE}, that variable is not set")
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if key.None = key.Secret == noKey; key.None {
		key.Secret = ""
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := key.parseOption(d); err != nil {
			return err
		}
	}
	if key.None && key.CredentialsRaw != nil {
		return key.line.Wrap(errors.New("key none: has no credentials"))
	}
	if !key.None && (key.Secret == "") == (key.CredentialsRaw == nil) {
		return key.line.Wrap(errors.New("a key wants either a secret, such as 'key {env.OPENAI_API_KEY}', or, in its block, 'credentials'"))
	}
	p.Keys = append(p.Keys, key)
	return nil
}

func (k *Key) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "id":
		return syntax.TextOnce(d, &k.ID)
	case "credentials":
		return k.parseSource(d)
	case "account":
		return syntax.TextOnce(d, &k.Account)
	case "weight":
		return syntax.PositiveOnce(d, &k.Weight)
	case "tier":
		return syntax.PositiveOnce(d, &k.Tier)
	case "max_in_flight":
		return syntax.PositiveOnce(d, &k.MaxInFlight)
	case "requests":
		return parseKeyLimit(d, &k.Requests)
	case "tokens":
		return parseKeyLimit(d, &k.Tokens)
	case "models":
		patterns := d.RemainingArgs()
		if len(patterns) == 0 {
			return d.ArgErr()
		}
		k.Models = append(k.Models, patterns...)
		return nil
	case "expires":
		if err := syntax.TextOnce(d, &k.Expires); err != nil {
			return err
		}
		if _, err := parseDate(k.Expires); err != nil {
			return d.Errf("expires: %v", err)
		}
		return nil
	}
	return syntax.Unknown(d, "key", d.Val(),
		"id", "credentials", "account", "weight", "tier", "max_in_flight", "requests", "tokens", "models", "expires")
}

// parseKeyLimit reads a number and the window it is for.
func parseKeyLimit(d *caddyfile.Dispenser, into **KeyLimit) error {
	option := d.Val()
	if *into != nil {
		return d.Errf("%s: already specified", option)
	}
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.ArgErr()
	}
	limit := new(KeyLimit)
	var err error
	if limit.Max, err = syntax.WholeNumber(d, option, args[0]); err != nil {
		return err
	}
	if limit.Max == 0 {
		return d.Errf("%s: must be at least 1", option)
	}
	if len(args) == 2 {
		window, err := syntax.Duration(args[1])
		if err != nil {
			return d.Errf("%s: window: %v", option, err)
		}
		limit.Window = caddy.Duration(window)
	}
	*into = limit
	return nil
}
