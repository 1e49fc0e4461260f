// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// maxCause bounds the text of an error that there are no words of ours for, in
// bytes.
const maxCause = 200

// ownError is an error whose text is ours alone, so that it tells no key
// whatever it holds.
type ownError string

func (e ownError) Error() string { return string(e) }

// inOurWords marks the text of an error as ours. There may be none.
func inOurWords(err error) error {
	if err == nil {
		return nil
	}
	return ownError(err.Error())
}

// cause is an error that is logged in few words, which tell no key. It is still
// the error that it was.
type cause struct {
	words string
	error
}

func (c *cause) Error() string { return c.words }

func (c *cause) Unwrap() error { return c.error }

// briefly returns err in few words that do not tell the key. There may be none.
func briefly(err error, secret keypool.Secret) error {
	if err == nil {
		return nil
	}
	words := ownWords(err)
	if words == "" {
		if words = withoutKey(err, secret).Error(); len(words) > maxCause {
			words = strings.ToValidUTF8(words[:maxCause], "") + "…"
		}
	}
	return &cause{words, err}
}

// errRepeats stands for an error whose text must not be told.
const errRepeats = ownError("an error whose text repeats our key")

// withoutKey returns err, or words of ours for it if its text holds the key. A
// short key is easily found in what nobody has told.
func withoutKey(err error, secret keypool.Secret) error {
	if err == nil || !repeats(err.Error(), secret) {
		return err
	}
	if words := ownWords(err); words != "" {
		return &cause{words, err}
	}
	return errRepeats
}

// ownWords says in our own words what err is, none of which are the provider's.
// It says nothing of what there are no words for.
func ownWords(err error) string {
	var (
		late *timeoutError
		own  ownError
	)
	switch {
	case errors.As(err, &late):
		return late.message
	case errors.As(err, &own):
		return own.Error()
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	if words := tlsWords(err); words != "" {
		return words
	}
	return networkWords(err)
}

// tlsWords does so for what is wrong with the encryption.
func tlsWords(err error) string {
	var (
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		cert    *tls.CertificateVerificationError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the server speaks no TLS"
	case errors.As(err, &unknown):
		return "certificate: unknown authority"
	case errors.As(err, &host):
		return "certificate: for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate: expired, or not valid yet"
	case errors.As(err, &invalid), errors.As(err, &cert):
		return "certificate: not valid"
	case errors.As(err, &op) && op.Op == "remote error":
		return "the server refused TLS: " + op.Err.Error() // an alert, of which there are so many
	}
	return ""
}

// networkTexts are the words for what is wrong with the connection, by what the
// error's text says of it: Caddy's errors of dialing show no more than that.
var networkTexts = []struct{ text, words string }{
	{"no such host", "no such host"},
	{"lookup ", "the host's name could not be resolved"},
	{"connection refused", "connection refused"},
	{"actively refused", "connection refused"}, // on Windows
	{"connection reset", "connection reset"},
	{"broken pipe", "connection reset"},
	{"no route to host", "no route to the host"},
	{"network is unreachable", "no route to the host"},
	{"malformed HTTP", "the server speaks no HTTP"}, // or not what it should, such as TLS
	{"i/o timeout", "the connection took too long"},
}

// networkWords does so for what is wrong with the connection.
func networkWords(err error) string {
	text := err.Error()
	for _, known := range networkTexts {
		if strings.Contains(text, known.text) {
			return known.words
		}
	}
	return ""
}
