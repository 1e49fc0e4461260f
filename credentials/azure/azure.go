// SPDX-License-Identifier: Apache-2.0

// Package azure is the module llm.credentials.azure: tokens from Microsoft
// Entra.
package azure

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/credentials/guest"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// Source obtains tokens from Microsoft Entra for an application: with its
// secret, with its certificate, or with the token of a workload that another
// issuer vouches for. Without any of these it is the identity that Azure gives
// to the workload or machine that Caddy runs on.
//
// Placeholders are evaluated when the config is loaded, to find what is wrong
// with them, and each time that a token is obtained.
type Source struct {
	// TenantID is the directory of the application.
	// Default: what AZURE_TENANT_ID says.
	TenantID string `json:"tenant_id,omitempty"`

	// ClientID is the application. Default: what AZURE_CLIENT_ID says; without
	// either it is the machine's own identity.
	ClientID string `json:"client_id,omitempty"`

	// ClientSecret is the application's secret.
	ClientSecret string `json:"client_secret,omitempty"`

	// CertificateFile holds the application's certificate and private key, in
	// PEM or PKCS #12, which CertificatePassword opens. It is read each time.
	CertificateFile     string `json:"certificate_file,omitempty"`
	CertificatePassword string `json:"certificate_password,omitempty"`

	// TokenFile is a file with the token of a workload, such as Kubernetes
	// puts there. It is read each time.
	// Default: what AZURE_FEDERATED_TOKEN_FILE says.
	TokenFile string `json:"token_file,omitempty"`

	// Authority is where Entra is: public, china, government, or the base URL
	// of an Entra of one's own. Default: public.
	Authority string `json:"authority,omitempty"`

	// Scope is what tokens are asked for.
	// Default: that of Azure's AI services in the cloud that is the Authority,
	// such as https://cognitiveservices.azure.com/.default.
	Scope string `json:"scope,omitempty"`

	identity string
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.credentials.azure",
		New: func() caddy.Module { return new(Source) },
	}
}

// authorities are the clouds that have a name, and what Azure's AI services are
// called there.
var authorities = map[string]struct {
	cloud cloud.Configuration
	scope string
}{
	"public":     {cloud.AzurePublic, "https://cognitiveservices.azure.com/.default"},
	"china":      {cloud.AzureChina, "https://cognitiveservices.azure.cn/.default"},
	"government": {cloud.AzureGovernment, "https://cognitiveservices.azure.us/.default"},
}

// Provision checks the options.
func (s *Source) Provision(caddy.Context) error {
	t, err := s.resolve()
	if err != nil {
		return err
	}
	proofs := 0
	for _, proof := range []string{t.secret, t.certificate, t.tokenFile} {
		if proof != "" {
			proofs++
		}
	}
	switch {
	case proofs > 1:
		return errors.New("client_secret, certificate_file and token_file: only one of them is used")
	case proofs == 1 && (t.tenant == "" || t.client == ""):
		return errors.New("tenant_id and client_id are needed")
	case t.password != "" && t.certificate == "":
		return errors.New("certificate_password: of no use without a certificate_file")
	}
	if s.identity = t.tenant + " " + t.client; proofs == 0 {
		s.identity = "managed identity " + t.client
	}
	_, err = t.credential()
	return t.explain(err)
}

// texts are the options with their placeholders evaluated.
type texts struct {
	tenant, client                           string
	secret, certificate, password, tokenFile string
	authority, scope                         string
}

func (s *Source) resolve() (texts, error) {
	r := guest.NewResolver()
	t := texts{
		tenant:      r.Text("tenant_id", s.TenantID),
		client:      r.Text("client_id", s.ClientID),
		secret:      r.Text("client_secret", s.ClientSecret),
		certificate: r.Text("certificate_file", s.CertificateFile),
		password:    r.Text("certificate_password", s.CertificatePassword),
		tokenFile:   r.Text("token_file", s.TokenFile),
		authority:   r.Text("authority", s.Authority),
		scope:       r.Text("scope", s.Scope),
	}
	if t.tokenFile == "" && t.secret == "" && t.certificate == "" {
		t.tokenFile = os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	}
	if t.tenant == "" {
		t.tenant = os.Getenv("AZURE_TENANT_ID")
	}
	if t.client == "" {
		t.client = os.Getenv("AZURE_CLIENT_ID")
	}
	if t.authority == "" {
		t.authority = "public"
	}
	if t.scope == "" {
		t.scope = authorities["public"].scope
		if named, ok := authorities[t.authority]; ok {
			t.scope = named.scope
		}
	}
	return t, r.Err()
}

// options are those of all of Azure's libraries. There are no retries: a grant
// that cannot be had is asked for again by who keeps it.
func (t texts) options() (options azcore.ClientOptions, private bool, err error) {
	options = azcore.ClientOptions{Transport: guest.Client, Retry: policy.RetryOptions{MaxRetries: -1}}
	if named, ok := authorities[t.authority]; ok {
		options.Cloud = named.cloud
		return options, false, nil
	}
	at, err := url.Parse(t.authority)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil {
		return options, false, fmt.Errorf("authority: %q is neither public, china, government nor an https URL", t.authority)
	}
	options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: t.authority}
	return options, true, nil
}

// credential is made anew each time: the library's own would keep tokens, also
// those that were refused. It asks nobody.
func (t texts) credential() (azcore.TokenCredential, error) {
	options, private, err := t.options()
	if err != nil {
		return nil, err
	}
	switch {
	case t.secret != "":
		return azidentity.NewClientSecretCredential(t.tenant, t.client, t.secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: private})
	case t.certificate != "":
		return t.certified(options, private)
	case t.tokenFile != "":
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: private,
			TenantID: t.tenant, ClientID: t.client, TokenFilePath: t.tokenFile,
		})
	}
	managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if t.client != "" {
		managed.ID = azidentity.ClientID(t.client)
	}
	return azidentity.NewManagedIdentityCredential(managed)
}

func (t texts) certified(options azcore.ClientOptions, private bool) (azcore.TokenCredential, error) {
	file, err := os.ReadFile(t.certificate)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	certificates, key, err := azidentity.ParseCertificates(file, []byte(t.password))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return azidentity.NewClientCertificateCredential(t.tenant, t.client, certificates, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: private})
}

// explain makes an error fit for logs.
func (t texts) explain(err error) error {
	return guest.Explain(err, t.secret, url.QueryEscape(t.secret), t.password)
}

// Identity is the application.
func (s *Source) Identity() string { return s.identity }

// Obtain asks Entra, or the machine, for a token.
func (s *Source) Obtain(ctx context.Context, _ *credentials.Grant) (*credentials.Grant, error) {
	t, err := s.resolve()
	if err != nil {
		return nil, err
	}
	credential, err := t.credential()
	if err != nil {
		return nil, t.explain(err)
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.scope}})
	if err != nil {
		return nil, t.explain(err)
	}
	return &credentials.Grant{Secret: keypool.NewSecret(token.Token), Expires: token.ExpiresOn}, nil
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	credentials azure {
//		tenant_id            <id>
//		client_id            <id>
//		client_secret        <secret>
//		certificate_file     <file>
//		certificate_password <password>
//		token_file           <file>
//		authority            public|china|government|<URL>
//		scope                <scope>
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return guest.Options{
		"tenant_id":            &s.TenantID,
		"client_id":            &s.ClientID,
		"client_secret":        &s.ClientSecret,
		"certificate_file":     &s.CertificateFile,
		"certificate_password": &s.CertificatePassword,
		"token_file":           &s.TokenFile,
		"authority":            &s.Authority,
		"scope":                &s.Scope,
	}.Parse(d)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ credentials.Source    = (*Source)(nil)
)
