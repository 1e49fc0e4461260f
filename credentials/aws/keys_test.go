// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/credentials/aws"
	"github.com/seed83435595/caddy-llm-proxy/internal/sourcetest"
)

// alone keeps the machine's own settings out of a test.
func alone(t *testing.T) {
	t.Helper()
	sourcetest.ClearEnv(t,
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
}

// provision makes a source ready for a provider.
func provision(s *aws.Source, base string) error {
	if err := sourcetest.Provision(s); err != nil {
		return err
	}
	at, err := url.Parse(base)
	if err != nil {
		return err
	}
	return s.Address(at)
}

func obtain(t *testing.T, s *aws.Source, base string) *credentials.Grant {
	t.Helper()
	if err := provision(s, base); err != nil {
		t.Fatal(err)
	}
	return sourcetest.Obtain(t, s, nil)
}

// send signs a request and sends it.
func send(t *testing.T, grant *credentials.Grant, method, address, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, address, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("X-Amzn-Bedrock-Trace", "ENABLED")
	if err := grant.Sign(req, []byte(body)); err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("%s: got %d", address, res.StatusCode)
	}
}

func ok(http.ResponseWriter, *http.Request) {}

// A signature holds for the request as it arrives: its path, however it is
// escaped, its query and its body.
func TestSignatureHoldsForWhatArrives(t *testing.T) {
	alone(t)
	s := newService(t, map[string]string{"AKIATEST": "canary/secret+"}, ok)
	grant := obtain(t, &aws.Source{AccessKeyID: "AKIATEST", SecretAccessKey: "canary/secret+", Region: "eu-west-1"}, s.URL)
	if !grant.Expires.IsZero() {
		t.Errorf("an account's own keys expire at %s", grant.Expires)
	}
	for _, uri := range []string{
		"/",
		"/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
		"/model/anthropic.claude-3-5-sonnet-20241022-v2:0/converse-stream",
		"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude/invoke",
		"/guardrail/a%20b%C3%A9/version/1/apply",
		"/async-invoke?maxResults=2&statusEquals=In%20Progress&nextToken=a%2Bb%2F%3D&a=",
	} {
		for _, body := range []string{"", `{"messages":[{"role":"user","content":[{"text":"grüße"}]}]}`} {
			send(t, grant, http.MethodPost, s.URL+uri, body)
			got := <-s.requests
			day := time.Now().UTC().Format("20060102")
			if got.scope != day+"/eu-west-1/bedrock/aws4_request" || got.token != "" || string(got.body) != body {
				t.Errorf("%s: got %+v", uri, got)
			}
			if path, _, _ := strings.Cut(uri, "?"); !strings.HasPrefix(got.uri, path) {
				t.Errorf("sent %s for %s", got.uri, uri)
			}
		}
	}
}

// Region and service are found in the host, where it names them.
func TestRegionIsFound(t *testing.T) {
	alone(t)
	for base, want := range map[string]string{
		"https://bedrock-runtime.eu-west-1.amazonaws.com":                         "eu-west-1/bedrock",
		"https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com":                "us-gov-west-1/bedrock",
		"https://Bedrock-Runtime.us-east-2.api.aws:443/openai/v1":                 "us-east-2/bedrock",
		"https://bedrock-runtime.cn-north-1.amazonaws.com.cn":                     "cn-north-1/bedrock",
		"https://vpce-1-a.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com":      "ap-southeast-2/bedrock",
		"https://bedrock-mantle.us-west-2.api.aws/v1":                             "us-west-2/bedrock-mantle",
		"https://gateway.example.com":                                             "sa-east-1/bedrock",
		"https://bedrock-runtime.amazonaws.com.example.com/bedrock-runtime.eu-w1": "sa-east-1/bedrock",
		"https://amazonaws.com":                                                   "sa-east-1/bedrock",
	} {
		t.Setenv("AWS_REGION", "sa-east-1")
		grant := obtain(t, &aws.Source{AccessKeyID: "AKIATEST", SecretAccessKey: "canary"}, base)
		req := httptest.NewRequest(http.MethodPost, base, nil)
		if err := grant.Sign(req, nil); err != nil {
			t.Fatal(err)
		}
		if auth := req.Header.Get("Authorization"); !strings.Contains(auth, "/"+want+"/aws4_request") {
			t.Errorf("%s: signed %s, want %s", base, auth, want)
		}
	}
}

// A default port is not sent, so that it cannot spoil the signature.
func TestDefaultPortIsNotSigned(t *testing.T) {
	alone(t)
	grant := obtain(t, &aws.Source{AccessKeyID: "AKIATEST", SecretAccessKey: "canary"}, "https://bedrock-runtime.eu-west-1.amazonaws.com:443")
	req := httptest.NewRequest(http.MethodPost, "https://bedrock-runtime.eu-west-1.amazonaws.com:443/model/m/converse", nil)
	if err := grant.Sign(req, nil); err != nil {
		t.Fatal(err)
	}
	if req.Host != "bedrock-runtime.eu-west-1.amazonaws.com" {
		t.Errorf("the host is %s", req.Host)
	}
	req.RequestURI = req.URL.RequestURI()
	if _, err := verify(req, nil, func(string) string { return "canary" }); err != nil {
		t.Error(err)
	}
}

// roleAnswer is what STS answers; the action's name fills the gaps.
const roleAnswer = `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIALENT</AccessKeyId><SecretAccessKey>canary-lent</SecretAccessKey>
<SessionToken>canary-session-%[2]d</SessionToken><Expiration>%[3]s</Expiration></Credentials>
</%[1]sResult></%[1]sResponse>`

// Keys are exchanged for those of a role, which expire, and requests are
// signed with them.
func TestAssumedRole(t *testing.T) {
	alone(t)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	asked := 0
	issuer := newService(t, map[string]string{"AKIATEST": "canary"}, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		asked++
		if r.Form.Get("Action") != "AssumeRole" || r.Form.Get("RoleArn") != "arn:aws:iam::1:role/r" || r.Form.Get("ExternalId") != "x" || r.Form.Get("RoleSessionName") != "caddy-llm-proxy" {
			t.Errorf("STS was asked %v", r.Form)
		}
		fmt.Fprintf(w, roleAnswer, "AssumeRole", asked, expires.Format(time.RFC3339))
	})
	t.Setenv("AWS_ENDPOINT_URL_STS", issuer.URL)
	s := newService(t, map[string]string{"ASIALENT": "canary-lent"}, ok)
	source := &aws.Source{
		AccessKeyID: "AKIATEST", SecretAccessKey: "canary",
		RoleARN: "arn:aws:iam::1:role/r", ExternalID: "x", Region: "eu-west-1",
	}
	grant := obtain(t, source, s.URL)
	if !grant.Expires.Equal(expires) || source.Identity() != "arn:aws:iam::1:role/r" {
		t.Errorf("expires %s, identity %s", grant.Expires, source.Identity())
	}
	send(t, grant, http.MethodPost, s.URL+"/model/m/converse", "{}")
	if got := <-s.requests; got.token != "canary-session-1" {
		t.Errorf("sent the token %s", got.token)
	}
	if got := <-issuer.requests; !strings.HasSuffix(got.scope, "/eu-west-1/sts/aws4_request") {
		t.Errorf("asked STS in the scope %s", got.scope)
	}
	again, err := source.Obtain(context.Background(), grant)
	if err != nil || again.Secret.Equal(grant.Secret) {
		t.Errorf("asked once more: got the same, or %v", err)
	}
}

// A token of a workload is exchanged for the keys of a role, and read anew each
// time.
func TestWebIdentity(t *testing.T) {
	alone(t)
	var tokens []string
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		tokens = append(tokens, r.Form.Get("WebIdentityToken"))
		if r.Header.Get("Authorization") != "" || r.Form.Get("Action") != "AssumeRoleWithWebIdentity" {
			t.Errorf("STS was asked %v with %q", r.Form, r.Header.Get("Authorization"))
		}
		fmt.Fprintf(w, roleAnswer, "AssumeRoleWithWebIdentity", len(tokens), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer issuer.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", issuer.URL)
	file := filepath.Join(t.TempDir(), "token")
	source := &aws.Source{RoleARN: "arn:aws:iam::1:role/r", WebIdentityTokenFile: file, Region: "eu-west-1"}
	for _, token := range []string{"first", "second"} {
		sourcetest.WriteFile(t, file, token)
		obtain(t, source, "http://127.0.0.1:1")
	}
	if strings.Join(tokens, " ") != "first second" {
		t.Errorf("STS was shown %q", tokens)
	}
}

// What AWS's SDKs find is used where no keys are given.
func TestWhatTheSDKsFind(t *testing.T) {
	alone(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-env")
	sourcetest.WriteFile(t, os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), "[other]\naws_access_key_id = AKIAFILE\naws_secret_access_key = canary-file\n")
	sourcetest.WriteFile(t, os.Getenv("AWS_CONFIG_FILE"), "[profile other]\nregion = ca-central-1\n")
	s := newService(t, map[string]string{"AKIAENV": "canary-env", "AKIAFILE": "canary-file"}, ok)
	send(t, obtain(t, &aws.Source{Region: "eu-west-1"}, s.URL), http.MethodPost, s.URL, "{}")
	<-s.requests
	send(t, obtain(t, &aws.Source{Profile: "other"}, s.URL), http.MethodPost, s.URL, "{}")
	if got := <-s.requests; !strings.Contains(got.scope, "/ca-central-1/") {
		t.Errorf("signed for %s", got.scope)
	}
}

// An issuer that refuses is quoted without the secret.
func TestErrorsHoldNoSecrets(t *testing.T) {
	alone(t)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(403)
		fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized to assume the role</Message></Error></ErrorResponse>`)
	}))
	defer issuer.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", issuer.URL)
	s := &aws.Source{AccessKeyID: "AKIATEST", SecretAccessKey: "canary", RoleARN: "arn:aws:iam::1:role/r", Region: "eu-west-1"}
	if err := provision(s, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Obtain(context.Background(), nil)
	sourcetest.CheckError(t, err, "AccessDenied")
}

// What cannot work is refused when the config is loaded, without asking
// anybody.
func TestRefusedOptions(t *testing.T) {
	alone(t)
	for want, s := range map[string]*aws.Source{
		"one without the other":               {AccessKeyID: "AKIATEST"},
		"session_token: of no use":            {SessionToken: "canary"},
		"access_key_id and profile":           {AccessKeyID: "AKIATEST", SecretAccessKey: "canary", Profile: "p"},
		"web_identity_token_file: wants":      {WebIdentityTokenFile: "/token"},
		"takes the place of keys":             {WebIdentityTokenFile: "/token", RoleARN: "r", AccessKeyID: "AKIATEST", SecretAccessKey: "canary"},
		"want a role_arn":                     {ExternalID: "x"},
		"aws: no region":                      {AccessKeyID: "AKIATEST", SecretAccessKey: "canary"},
		"failed to get shared config profile": {Profile: "missing"},
		"secret_access_key: evaluated place":  {AccessKeyID: "AKIATEST", SecretAccessKey: "{env.UNSET_FOR_THIS_TEST}"},
	} {
		sourcetest.CheckError(t, provision(s, "https://gateway.example.com"), want)
	}
}

// The Caddyfile says all that JSON can say.
func TestCaddyfile(t *testing.T) {
	s := new(aws.Source)
	err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`aws {
		access_key_id           1
		secret_access_key       2
		session_token           3
		profile                 4
		role_arn                5
		role_session_name       6
		external_id             7
		web_identity_token_file 8
		region                  9
		service                 10
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.AccessKeyID, s.SecretAccessKey, s.SessionToken, s.Profile, s.RoleARN, s.RoleSessionName,
		s.ExternalID, s.WebIdentityTokenFile, s.Region, s.Service)
	if want := "12345678910"; strings.ReplaceAll(got, " ", "") != want {
		t.Errorf("got %s", got)
	}
}
