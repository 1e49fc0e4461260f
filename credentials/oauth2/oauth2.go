// SPDX-License-Identifier: Apache-2.0

// Package oauth2 is the module llm.credentials.oauth2: tokens from any issuer
// that speaks OAuth 2.0.
package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/credentials/guest"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// Source obtains tokens from an issuer that speaks OAuth 2.0: with the
// credentials of a client, or with a refresh token. Placeholders are evaluated
// when the config is loaded, to find what is wrong with them, and each time
// that a token is obtained; so a file may be exchanged for another meanwhile.
type Source struct {
	// TokenURL is the issuer's token endpoint.
	TokenURL string `json:"token_url,omitempty"`

	// ClientID is the client that the issuer knows.
	ClientID string `json:"client_id,omitempty"`

	// ClientSecret is the client's secret. A client that has none needs a
	// refresh token.
	ClientSecret string `json:"client_secret,omitempty"`

	// RefreshToken obtains tokens on behalf of a user. If the issuer exchanges
	// it for another each time, the latest is kept in memory, also when the
	// config is loaded anew, but not when Caddy is restarted.
	// Default: tokens are obtained on behalf of the client itself.
	RefreshToken string `json:"refresh_token,omitempty"`

	// Scopes are what a client asks for. Default: what the issuer gives it.
	Scopes []string `json:"scopes,omitempty"`

	// Params are sent to the token endpoint besides, such as an audience.
	Params map[string]string `json:"params,omitempty"`

	// AuthStyle is how the client proves who it is: header, or params in the
	// body. Default: what works is found out at the first time.
	AuthStyle string `json:"auth_style,omitempty"`

	identity string
	// client and user remember which style works.
	client clientcredentials.Config
	user   oauth2.Config
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.credentials.oauth2",
		New: func() caddy.Module { return new(Source) },
	}
}

var authStyles = map[string]oauth2.AuthStyle{
	"":       oauth2.AuthStyleAutoDetect,
	"header": oauth2.AuthStyleInHeader,
	"params": oauth2.AuthStyleInParams,
}

// Provision checks the options.
func (s *Source) Provision(caddy.Context) error {
	texts, err := s.resolve()
	if err != nil {
		return err
	}
	if _, known := authStyles[s.AuthStyle]; !known {
		return fmt.Errorf("auth_style: %q is neither header nor params", s.AuthStyle)
	}
	at, err := url.Parse(texts.tokenURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil || at.Fragment != "" {
		return errors.New("token_url: it should look like https://login.example.com/oauth2/token, with no user in it")
	}
	s.identity = at.Host + at.Path + " " + texts.clientID
	if texts.refreshToken == "" {
		return nil
	}
	if len(s.Scopes) > 0 || len(s.Params) > 0 {
		return errors.New("scopes and params are for the credentials of a client: a refresh token has its own")
	}
	s.identity += " " + keypool.Fingerprint(texts.refreshToken)
	return nil
}

// texts are the options with their placeholders evaluated.
type texts struct {
	tokenURL, clientID, clientSecret, refreshToken string
	scopes                                         []string
	params                                         url.Values
}

func (s *Source) resolve() (texts, error) {
	r := guest.NewResolver()
	t := texts{
		tokenURL:     r.Needed("token_url", s.TokenURL),
		clientID:     r.Needed("client_id", s.ClientID),
		clientSecret: r.Text("client_secret", s.ClientSecret),
		refreshToken: r.Text("refresh_token", s.RefreshToken),
		params:       url.Values{},
	}
	for _, scope := range s.Scopes {
		t.scopes = append(t.scopes, r.Text("scopes", scope))
	}
	for name, value := range s.Params {
		t.params.Set(name, r.Text("params "+name, value))
	}
	if r.Err() == nil && t.clientSecret == "" && t.refreshToken == "" {
		return t, errors.New("client_secret is needed, or a refresh_token")
	}
	return t, r.Err()
}

// Identity is the client at its issuer.
func (s *Source) Identity() string { return s.identity }

// Obtain asks the issuer for a token.
func (s *Source) Obtain(ctx context.Context, last *credentials.Grant) (*credentials.Grant, error) {
	t, err := s.resolve()
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, guest.Client)
	if t.refreshToken == "" {
		return s.asClient(ctx, t)
	}
	if last != nil && !last.Refresh.Empty() && last.Refresh.Reveal() != t.refreshToken {
		grant, err := s.asUser(ctx, t, last.Refresh.Reveal())
		var refused *oauth2.RetrieveError
		if err == nil || !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
			return grant, explain(err, t, last.Refresh.Reveal())
		}
		// The one in the config may be new.
	}
	grant, err := s.asUser(ctx, t, t.refreshToken)
	return grant, explain(err, t, t.refreshToken)
}

func (s *Source) asClient(ctx context.Context, t texts) (*credentials.Grant, error) {
	s.client.ClientID, s.client.ClientSecret = t.clientID, t.clientSecret
	s.client.TokenURL, s.client.AuthStyle = t.tokenURL, authStyles[s.AuthStyle]
	s.client.Scopes, s.client.EndpointParams = t.scopes, t.params
	token, err := s.client.Token(ctx)
	if err != nil {
		return nil, explain(err, t)
	}
	return grantOf(token)
}

// asUser exchanges a refresh token. Its errors are the library's own.
func (s *Source) asUser(ctx context.Context, t texts, refresh string) (*credentials.Grant, error) {
	s.user.ClientID, s.user.ClientSecret = t.clientID, t.clientSecret
	s.user.Endpoint = oauth2.Endpoint{TokenURL: t.tokenURL, AuthStyle: authStyles[s.AuthStyle]}
	token, err := s.user.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return nil, err
	}
	return grantOf(token)
}

func grantOf(token *oauth2.Token) (*credentials.Grant, error) {
	if token.Type() != "Bearer" {
		return nil, errors.New("the issuer gives out tokens that are no bearers")
	}
	return &credentials.Grant{
		Secret:  keypool.NewSecret(token.AccessToken),
		Refresh: keypool.NewSecret(token.RefreshToken),
		Expires: token.Expiry,
	}, nil
}

// explain makes an error fit for logs.
func explain(err error, t texts, more ...string) error {
	return guest.Explain(err, append(more, t.clientSecret, url.QueryEscape(t.clientSecret), t.refreshToken)...)
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	credentials oauth2 {
//		token_url     <URL>
//		client_id     <id>
//		client_secret <secret>
//		refresh_token <token>
//		scopes        <scope>...
//		params        <name> <value>
//		auth_style    header|params
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return guest.Options{
		"token_url":     &s.TokenURL,
		"client_id":     &s.ClientID,
		"client_secret": &s.ClientSecret,
		"refresh_token": &s.RefreshToken,
		"scopes":        &s.Scopes,
		"params":        &s.Params,
		"auth_style":    &s.AuthStyle,
	}.Parse(d)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ credentials.Source    = (*Source)(nil)
)
