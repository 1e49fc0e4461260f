// SPDX-License-Identifier: Apache-2.0

// Package google is the module llm.credentials.google: tokens for Google Cloud.
package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"cloud.google.com/go/auth"
	googleauth "cloud.google.com/go/auth/credentials"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/credentials/guest"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// defaultScope is enough for all of Google Cloud that the account may use.
const defaultScope = "https://www.googleapis.com/auth/cloud-platform"

// Source obtains tokens for Google Cloud: for a service account, for a workload
// of another cloud, or for what Google calls the application's default
// credentials.
type Source struct {
	// File is a file with credentials as Google gives them out: of a service
	// account, for instance, or of a workload that another identity provider
	// vouches for (external_account). It is read when the config is loaded and
	// each time that a token is obtained. Whoever writes it decides where
	// requests for tokens go.
	File string `json:"file,omitempty"`

	// JSON is a placeholder for the text of such a file, such as
	// {env.GOOGLE_CREDENTIALS}.
	// Default, without a File: the application's default credentials. They are
	// in the file that GOOGLE_APPLICATION_CREDENTIALS names or where gcloud
	// puts them, or come from the metadata server of the machine.
	JSON string `json:"json,omitempty"`

	// Scopes are what tokens are asked for.
	// Default: https://www.googleapis.com/auth/cloud-platform.
	Scopes []string `json:"scopes,omitempty"`

	identity string
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.credentials.google",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision reads the credentials, if they are the config's own. Default ones
// are looked for when they are needed: that may ask the network.
func (s *Source) Provision(caddy.Context) error {
	if s.File != "" && s.JSON != "" {
		return errors.New("file and json: one of them must go")
	}
	options, document, err := s.resolve()
	if err != nil {
		return err
	}
	if document == nil {
		s.identity = "application default"
		return nil
	}
	var named identification
	if err := json.Unmarshal(document, &named); err != nil {
		return errors.New("the credentials are not JSON as Google gives it out")
	}
	s.identity = named.String()
	if _, err := fromJSON(document, options); err != nil {
		return guest.Explain(err)
	}
	return nil
}

// identification is what tells credentials apart.
type identification struct {
	Type          string `json:"type"`
	ClientEmail   string `json:"client_email"`
	ClientID      string `json:"client_id"`
	RefreshToken  string `json:"refresh_token"`
	Audience      string `json:"audience"`
	Impersonation string `json:"service_account_impersonation_url"`
}

// String does not change with the keys of an account.
func (i identification) String() string {
	switch {
	case i.ClientEmail != "":
		return i.ClientEmail
	case i.Impersonation != "":
		return i.Impersonation
	case i.Audience != "":
		return i.Audience
	default:
		return i.ClientID + " " + keypool.Fingerprint(i.RefreshToken)
	}
}

// resolve returns the credentials; nil for default ones.
func (s *Source) resolve() (options *googleauth.DetectOptions, document []byte, err error) {
	r := guest.NewResolver()
	file, text := r.Text("file", s.File), r.Text("json", s.JSON)
	options = &googleauth.DetectOptions{Client: guest.Client}
	for _, scope := range s.Scopes {
		options.Scopes = append(options.Scopes, r.Text("scopes", scope))
	}
	if len(options.Scopes) == 0 {
		options.Scopes = []string{defaultScope}
	}
	if r.Err() != nil {
		return nil, nil, r.Err()
	}
	switch {
	case file != "":
		if document, err = os.ReadFile(file); err != nil {
			return nil, nil, fmt.Errorf("reading credentials: %w", err)
		}
	case text != "":
		document = []byte(text)
	}
	return options, document, nil
}

// fromJSON asks nobody.
func fromJSON(document []byte, options *googleauth.DetectOptions) (*auth.Credentials, error) {
	var named identification
	if err := json.Unmarshal(document, &named); err != nil {
		return nil, err
	}
	return googleauth.NewCredentialsFromJSON(googleauth.CredType(named.Type), document, options)
}

// Identity is the account.
func (s *Source) Identity() string { return s.identity }

// Obtain asks Google for a token.
func (s *Source) Obtain(ctx context.Context, _ *credentials.Grant) (*credentials.Grant, error) {
	options, document, err := s.resolve()
	if err != nil {
		return nil, err
	}
	found, err := detect(document, options)
	if err != nil {
		return nil, guest.Explain(err)
	}
	token, err := found.Token(ctx)
	if err != nil {
		return nil, guest.Explain(err)
	}
	return &credentials.Grant{Secret: keypool.NewSecret(token.Value), Expires: token.Expiry}, nil
}

func detect(document []byte, options *googleauth.DetectOptions) (*auth.Credentials, error) {
	if document == nil {
		return googleauth.DetectDefault(options)
	}
	return fromJSON(document, options)
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	credentials google {
//		file   <file>
//		json   <placeholder>
//		scopes <scope>...
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return guest.Options{
		"file":   &s.File,
		"json":   &s.JSON,
		"scopes": &s.Scopes,
	}.Parse(d)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ credentials.Source    = (*Source)(nil)
)
