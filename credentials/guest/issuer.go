// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// maxExplanation is how much is told of an issuer's error, in bytes.
const maxExplanation = 400

// Client asks issuers for credentials. Redirects are not followed: they would
// carry a secret somewhere else. A proxy is taken from the environment.
var Client = &http.Client{
	Transport: newTransport(),
	Timeout:   30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the issuer answers with a redirect, which is not followed")
	},
}

func newTransport() http.RoundTripper {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.ResponseHeaderTimeout = 20 * time.Second
	return transport
}

// signedToken finds what looks like a JSON Web Token.
var signedToken = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`)

// Explain returns an error that may be logged: one line of limited length,
// without the secrets that were sent, should the issuer repeat them.
func Explain(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	text := oneLine(err.Error())
	for _, secret := range secrets {
		if secret = oneLine(secret); secret != "" {
			text = strings.ReplaceAll(text, secret, "REDACTED")
		}
	}
	text = signedToken.ReplaceAllString(text, "REDACTED")
	if len(text) > maxExplanation {
		cut := maxExplanation
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return errors.New(text)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
