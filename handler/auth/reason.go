// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Why tokens are refused, but for what the library says itself.
var (
	errUnreadable  = errors.New("reading the token")
	errNoExpiry    = errors.New("the token does not expire")
	errUnknownID   = errors.New("the issuer has no key of the id that the token names")
	errNoKeyFits   = errors.New("no key of the issuer's fits the token's algorithm")
	errTooManyKeys = errors.New("there are too many keys to check the token against, or too many tokens in the request")
	errIssuer      = errors.New("the token is of another issuer")
	errAudience    = errors.New("the token is meant for somebody else")
	errInactive    = errors.New("the issuer says that the token is not active")
)

var reasons = []struct {
	err  error
	word string
}{
	{ErrUnjudged, "unjudged"},
	{jwt.ErrExpired, "expired"},
	{jwt.ErrNotValidYet, "not_yet_valid"},
	{jwt.ErrIssuedInTheFuture, "not_yet_valid"},
	{errNoExpiry, "no_expiry"},
	{jwt.ErrInvalidAudience, "audience"},
	{errAudience, "audience"},
	{jwt.ErrInvalidIssuer, "issuer"},
	{errIssuer, "issuer"},
	{errUnknownID, "unknown_key_id"},
	{errNoKeyFits, "algorithm"},
	{jose.ErrCryptoFailure, "signature"},
	{errTooManyKeys, "too_many_keys"},
	{errInactive, "inactive"},
	{errUnreadable, "unreadable"},
}

// Reason returns in a word why a token was refused, for logs: nothing of it
// comes from the token. It is empty if err does not tell.
func Reason(err error) string {
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	if errors.As(err, &algorithm) {
		return "algorithm"
	}
	for _, known := range reasons {
		if errors.Is(err, known.err) {
			return known.word
		}
	}
	return ""
}
