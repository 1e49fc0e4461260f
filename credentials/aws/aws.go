// SPDX-License-Identifier: Apache-2.0

// Package aws is the module llm.credentials.aws: requests signed with the keys
// of an AWS account.
package aws

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/credentials/guest"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// Source signs requests with the keys of an AWS account, by AWS's Signature
// Version 4. The keys are those that are given here, or what AWS's SDKs find:
// in the environment, in the files of a profile, in a container, or on the
// machine. With a role they are exchanged for keys that are lent for a time.
//
// Placeholders are evaluated when the config is loaded, to find what is wrong
// with them, and each time that keys are obtained.
type Source struct {
	// AccessKeyID and SecretAccessKey are the account's keys, and SessionToken
	// what comes with keys that are lent. Default: what AWS's SDKs find.
	AccessKeyID     string `json:"access_key_id,omitempty"`
	SecretAccessKey string `json:"secret_access_key,omitempty"`
	SessionToken    string `json:"session_token,omitempty"`

	// Profile is a profile in AWS's files, in place of keys.
	// Default: the one that AWS_PROFILE names.
	Profile string `json:"profile,omitempty"`

	// RoleARN is a role to assume. Default: none.
	RoleARN string `json:"role_arn,omitempty"`

	// RoleSessionName is what the session of the role is called in AWS's own
	// logs. Default: caddy-llm-proxy.
	RoleSessionName string `json:"role_session_name,omitempty"`

	// ExternalID is what the role may demand of those who assume it.
	ExternalID string `json:"external_id,omitempty"`

	// WebIdentityTokenFile is a file with a token for which the role is lent,
	// in place of keys. It is read each time.
	WebIdentityTokenFile string `json:"web_identity_token_file,omitempty"`

	// Region is the region that requests are signed for. Default: the one in
	// the provider's base URL, or else the one that AWS's SDKs find.
	Region string `json:"region,omitempty"`

	// Service is the service that requests are signed for. Default: what the
	// provider's base URL names, bedrock-mantle, or else bedrock.
	Service string `json:"service,omitempty"`

	identity, region, service string
	signer                    *v4.Signer
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.credentials.aws",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the options.
func (s *Source) Provision(caddy.Context) error {
	t, err := s.resolve()
	if err != nil {
		return err
	}
	switch {
	case (t.accessKeyID == "") != (t.secretAccessKey == ""):
		return errors.New("access_key_id and secret_access_key: one without the other")
	case t.sessionToken != "" && t.accessKeyID == "":
		return errors.New("session_token: of no use without an access_key_id")
	case t.accessKeyID != "" && t.profile != "":
		return errors.New("access_key_id and profile: one of them must go")
	case t.tokenFile != "" && t.roleARN == "":
		return errors.New("web_identity_token_file: wants a role_arn")
	case t.tokenFile != "" && (t.accessKeyID != "" || t.externalID != ""):
		return errors.New("web_identity_token_file: takes the place of keys, and knows no external_id")
	case t.roleARN == "" && (t.externalID != "" || t.sessionName != ""):
		return errors.New("external_id and role_session_name: want a role_arn")
	}
	s.identity = t.identity()
	s.region, s.service = t.region, t.service
	s.signer = v4.NewSigner()
	return nil
}

// Address finds region and service in the host of the base URL.
func (s *Source) Address(base *url.URL) error {
	service, region := readHost(base.Hostname())
	if s.service == "" {
		s.service = service
	}
	if s.region == "" {
		s.region = region
	}
	if s.region != "" {
		return nil
	}
	found, err := s.load(context.Background())
	if err != nil {
		return err
	}
	if s.region = found.Region; s.region == "" {
		return errors.New("aws: no region: neither 'region' nor the base URL nor AWS_REGION names one")
	}
	return nil
}

// texts are the options with their placeholders evaluated.
type texts struct {
	accessKeyID, secretAccessKey, sessionToken, profile string
	roleARN, sessionName, externalID, tokenFile         string
	region, service                                     string
}

func (s *Source) resolve() (texts, error) {
	r := guest.NewResolver()
	t := texts{
		accessKeyID:     r.Text("access_key_id", s.AccessKeyID),
		secretAccessKey: r.Text("secret_access_key", s.SecretAccessKey),
		sessionToken:    r.Text("session_token", s.SessionToken),
		profile:         r.Text("profile", s.Profile),
		roleARN:         r.Text("role_arn", s.RoleARN),
		sessionName:     r.Text("role_session_name", s.RoleSessionName),
		externalID:      r.Text("external_id", s.ExternalID),
		tokenFile:       r.Text("web_identity_token_file", s.WebIdentityTokenFile),
		region:          r.Text("region", s.Region),
		service:         r.Text("service", s.Service),
	}
	return t, r.Err()
}

// identity is whose keys they are.
func (t texts) identity() string {
	switch {
	case t.roleARN != "":
		return t.roleARN
	case t.accessKeyID != "":
		return t.accessKeyID
	case t.profile != "":
		return "profile " + t.profile
	default:
		return "default"
	}
}

// Identity is the role, the access key or the profile.
func (s *Source) Identity() string { return s.identity }

// load gathers what AWS's SDKs go by. It asks nobody.
func (s *Source) load(ctx context.Context) (aws.Config, error) {
	t, err := s.resolve()
	if err != nil {
		return aws.Config{}, err
	}
	options := []func(*config.LoadOptions) error{config.WithRegion(s.region)}
	if t.profile != "" {
		options = append(options, config.WithSharedConfigProfile(t.profile))
	}
	if t.accessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(
			awscredentials.NewStaticCredentialsProvider(t.accessKeyID, t.secretAccessKey, t.sessionToken)))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil || t.roleARN == "" {
		return loaded, guest.Explain(err)
	}
	loaded.Credentials = assume(sts.NewFromConfig(loaded), t)
	return loaded, nil
}

// assume exchanges keys, or a token, for those of a role.
func assume(client *sts.Client, t texts) aws.CredentialsProvider {
	name := t.sessionName
	if name == "" {
		name = "caddy-llm-proxy"
	}
	if t.tokenFile != "" {
		return stscreds.NewWebIdentityRoleProvider(client, t.roleARN, stscreds.IdentityTokenFile(t.tokenFile),
			func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = name })
	}
	return stscreds.NewAssumeRoleProvider(client, t.roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = name
		if t.externalID != "" {
			o.ExternalID = &t.externalID
		}
	})
}

// Obtain gets the keys. Nothing is kept from one time to the next, so that
// files are read again.
func (s *Source) Obtain(ctx context.Context, _ *credentials.Grant) (*credentials.Grant, error) {
	loaded, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, guest.Explain(err)
	}
	grant := &credentials.Grant{Secret: keypool.NewSecret(keys.SessionToken), Sign: s.sign(keys)}
	if grant.Secret.Empty() {
		grant.Secret = keypool.NewSecret(keys.SecretAccessKey)
	}
	if keys.CanExpire {
		grant.Expires = keys.Expires.In(time.UTC)
	}
	return grant, nil
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	credentials aws {
//		access_key_id           <id>
//		secret_access_key       <secret>
//		session_token           <token>
//		profile                 <name>
//		role_arn                <ARN>
//		role_session_name       <name>
//		external_id             <id>
//		web_identity_token_file <file>
//		region                  <region>
//		service                 <service>
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return guest.Options{
		"access_key_id":           &s.AccessKeyID,
		"secret_access_key":       &s.SecretAccessKey,
		"session_token":           &s.SessionToken,
		"profile":                 &s.Profile,
		"role_arn":                &s.RoleARN,
		"role_session_name":       &s.RoleSessionName,
		"external_id":             &s.ExternalID,
		"web_identity_token_file": &s.WebIdentityTokenFile,
		"region":                  &s.Region,
		"service":                 &s.Service,
	}.Parse(d)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ credentials.Source    = (*Source)(nil)
	_ credentials.Addressed = (*Source)(nil)
)
