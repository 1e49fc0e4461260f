// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Client is somebody who may call.
type Client struct {
	// ID is the client's name in logs, metrics and limits. What a client has
	// used is counted under its id for the whole of Caddy.
	ID string `json:"id"`

	// Secrets are the client's virtual keys, each as sha256:<hex of its
	// SHA-256 hash>, or as a placeholder such as {env.APP_KEY} that holds
	// either this or the key itself. Several may be valid at a time, so that
	// a key can be changed without an interruption.
	Secrets []string `json:"secrets,omitempty"`

	// OldSecrets are keys that have been replaced, and are valid for a while
	// beside the new ones. Default: none.
	OldSecrets []*OldSecret `json:"old_secrets,omitempty"`

	// Models are patterns of the models that the client may use, in which an
	// asterisk stands for any text. Default: those of its groups, or all.
	Models []string `json:"models,omitempty"`

	// Providers are patterns of the names of the providers that may serve the
	// client, in which an asterisk stands for any text. A model that only
	// others serve is refused. Default: those of its groups, or all.
	Providers []string `json:"providers,omitempty"`

	// Groups are the names of the groups that the client belongs to.
	// Default: none.
	Groups []string `json:"groups,omitempty"`

	// Limits are how much the client may use. They take the place of the
	// limits of the same kind that its groups set for each member, and of the
	// handler's user limits.
	Limits []*Limit `json:"limits,omitempty"`

	// Expires is when the client's access ends: a date such as 2026-12-31,
	// which means its first moment in UTC, or a time as in RFC 3339.
	// Default: never.
	Expires string `json:"expires,omitempty"`

	// AllowIP are the addresses and CIDR ranges from which the client may
	// call. Default: all.
	AllowIP []string `json:"allow_ip,omitempty"`

	// Disabled refuses the client's calls until it is set back.
	// Default: false.
	Disabled bool `json:"disabled,omitempty"`

	// Metadata are what operators want to know of the client, by name, such as
	// its team. They stand in logs and in the records of ledgers. At most 16,
	// with names of up to 64 letters, digits, underscores, dots and hyphens,
	// and values of up to 256 bytes. Default: none.
	Metadata map[string]string `json:"metadata,omitempty"`

	line, expiresLine, providersLine syntax.Line
}

// OldSecret is a key that has been replaced.
type OldSecret struct {
	// Secret is the key, as in a client's Secrets.
	Secret string `json:"secret"`

	// Until is when it stops being valid: a date or a time as in Expires.
	Until string `json:"until"`
}

// Expired tells whether the client's access has ended.
func (c *Client) Expired(now time.Time) bool {
	end, err := parseExpiry(c.Expires)
	return err == nil && !end.IsZero() && !now.Before(end)
}

// ready resolves what the config says of a client.
func (who *Callers) ready(c *Client) (*auth.Client, error) {
	if err := checkMetadata(c.Metadata); err != nil {
		return nil, err
	}
	client := &auth.Client{
		ID: c.ID, Models: c.Models, Providers: c.Providers, Groups: c.Groups, Disabled: c.Disabled, Metadata: c.Metadata,
	}
	own, err := rulesOf(c.Limits)
	if err != nil {
		return nil, err
	}
	if err := who.checkGroups(c.Groups); err != nil {
		return nil, err
	}
	who.join(client, own)
	if client.Expires, err = parseExpiry(c.Expires); err != nil {
		return nil, err
	}
	for _, text := range c.AllowIP {
		network, err := parseNetwork(text)
		if err != nil {
			return nil, err
		}
		client.Networks = append(client.Networks, network)
	}
	return client, nil
}

// parseNetwork reads an address or a range.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := caddyhttp.CIDRExpressionToPrefix(text)
	if err != nil {
		return network, fmt.Errorf("allow_ip: %q is neither an address such as 10.0.0.1 nor a range such as 10.0.0.0/8", text)
	}
	return network, nil
}

// evaluated returns what evaluates the placeholders of secrets.
func evaluated() func(string) (string, error) {
	repl := caddy.NewReplacer()
	return func(secret string) (string, error) { return repl.ReplaceOrErr(secret, true, true) }
}

// asWritten stands for evaluated while a Caddyfile is parsed: a placeholder is
// then known only by its name.
func asWritten(secret string) (string, error) {
	if strings.Contains(secret, "{") {
		return auth.HashSecret(secret).String(), nil
	}
	return secret, nil
}

// warn tells of what makes the client useless.
func (c *Client) warn(now time.Time) {
	if c.Expired(now) {
		c.expiresLine.Warn("client %s: its access ended at %s, so it is refused; set 'expires' to a later date, or take the client out", c.ID, c.Expires)
	}
}

// secrets returns the hashes of the client's secrets, as evaluate has them, also
// of the old ones that are not valid any more: they are nobody else's.
func (c *Client) secrets(evaluate func(string) (string, error)) ([]auth.Secret, error) {
	secrets := make([]auth.Secret, 0, len(c.Secrets)+len(c.OldSecrets))
	for _, text := range c.Secrets {
		digest, err := digestOf(text, evaluate)
		if err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
		secrets = append(secrets, auth.Secret{Digest: digest})
	}
	for _, old := range c.OldSecrets {
		if old == nil {
			return nil, errors.New("old secret: null")
		}
		digest, err := digestOf(old.Secret, evaluate)
		if err != nil {
			return nil, fmt.Errorf("old secret: %w", err)
		}
		until, err := parseMoment(old.Until)
		if err != nil {
			return nil, fmt.Errorf("old secret: until: %w", err)
		}
		secrets = append(secrets, auth.Secret{Digest: digest, Until: until})
	}
	return secrets, nil
}

// digestOf returns the hash of a secret that stands in a config.
func digestOf(text string, evaluate func(string) (string, error)) (auth.Digest, error) {
	if digest, err := auth.ParseDigest(text); err == nil {
		return digest, nil
	}
	secret, err := evaluate(text)
	if err != nil {
		return auth.Digest{}, err
	}
	digest, err := auth.ParseDigest(secret)
	if err != nil && secret != text && !strings.HasPrefix(secret, "sha256:") {
		// It came out of the environment or a file, where it may stand as it
		// is.
		return auth.HashSecret(secret), nil
	}
	return digest, err
}

func parseExpiry(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	moment, err := parseMoment(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("expires: %w", err)
	}
	return moment, nil
}

// parseMoment reads a date, which means its first moment in UTC, or a time.
func parseMoment(text string) (time.Time, error) {
	if date, err := time.Parse(time.DateOnly, text); err == nil {
		return date, nil
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("neither a date such as 2026-12-31 nor a time such as 2026-12-31T18:00:00Z: %s", text)
	}
	return moment, nil
}

func (who *Callers) parseClient(d *caddyfile.Dispenser) error {
	line, args := syntax.At(d), d.RemainingArgs()
	if len(args) < 1 {
		return d.Err("client: an id and a secret are needed, such as 'client app {env.APP_KEY_HASH}'")
	}
	c := &Client{ID: args[0], Secrets: args[1:], line: line}
	if slices.Contains(args, "") {
		return d.Errf("client %s: an empty secret: if it comes from {$VARIABLE}, that variable is not set", c.ID)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := c.parseOption(d); err != nil {
			return err
		}
	}
	who.Clients = append(who.Clients, c)
	return nil
}

var clientOptions = []string{"group", "models", "providers", "limit", "expires", "allow_ip", "old_secret", "metadata", "disabled"}

func (c *Client) parseOption(d *caddyfile.Dispenser) error {
	option := d.Val()
	if option == "disabled" {
		return syntax.FlagOnce(d, &c.Disabled)
	}
	if !slices.Contains(clientOptions, option) {
		return syntax.Unknown(d, "client "+c.ID, option, clientOptions...)
	}
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("client %s: %s: wants an argument", c.ID, option)
	}
	switch option {
	case "models":
		c.Models = append(c.Models, args...)
	case "providers":
		c.Providers, c.providersLine = append(c.Providers, args...), syntax.At(d)
	case "metadata":
		return c.parseMetadata(d, args)
	case "old_secret":
		if len(args) != 2 {
			return d.Errf("client %s: old_secret: wants a secret and until when it is valid, such as 'old_secret sha256:… 2026-12-31'", c.ID)
		}
		if _, err := parseMoment(args[1]); err != nil {
			return d.Errf("client %s: old_secret: %v", c.ID, err)
		}
		c.OldSecrets = append(c.OldSecrets, &OldSecret{Secret: args[0], Until: args[1]})
	case "limit":
		limit, err := parseLimit(d, option, args)
		if err != nil {
			return err
		}
		c.Limits = append(c.Limits, limit)
		if _, err := rulesOf(c.Limits); err != nil {
			return d.Errf("client %s: %v", c.ID, err)
		}
	case "group":
		c.Groups = append(c.Groups, args...)
	case "expires":
		if c.Expires != "" {
			return d.Errf("client %s: expires: already specified", c.ID)
		}
		if _, err := parseExpiry(args[0]); err != nil || len(args) > 1 {
			return d.Errf("client %s: expires: not one date such as 2026-12-31: %s", c.ID, args[0])
		}
		c.Expires, c.expiresLine = args[0], syntax.At(d)
	case "allow_ip":
		for _, arg := range args {
			if arg == "private_ranges" {
				c.AllowIP = append(c.AllowIP, caddyhttp.PrivateRangesCIDR()...)
				continue
			}
			if _, err := parseNetwork(arg); err != nil {
				return d.Errf("client %s: %v", c.ID, err)
			}
			c.AllowIP = append(c.AllowIP, arg)
		}
	}
	return nil
}
