// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// maxToken bounds a token, in bytes.
const maxToken = 16 << 10

// maxTries bounds how many signatures are checked for a token, or for all that
// one request brings: one that names no key is tried against each.
const maxTries = 16

// ErrUnjudged is that nobody can say for now whether a token is good.
var ErrUnjudged = errors.New("the token cannot be judged at the moment")

var errNoKeys = fmt.Errorf("%w: the keys of its issuer are not known yet", ErrUnjudged)

// algorithms are those of asymmetric keys. With a shared secret, or without
// any, whoever can verify a token could also make one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

// Token is a JSON Web Token that has been read, and not yet been believed.
type Token struct {
	parsed *jwt.JSONWebToken
	// Issuer is who it says has made it.
	Issuer string
}

// IsToken tells whether a secret looks like a token rather than a key.
func IsToken(secret string) bool {
	return strings.HasPrefix(secret, "eyJ") && strings.Count(secret, ".") == 2
}

// ReadToken reads a token.
func ReadToken(text string) (*Token, error) {
	if len(text) > maxToken {
		return nil, fmt.Errorf("%w: it is too long", errUnreadable)
	}
	parsed, err := jwt.ParseSigned(text, algorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	var says jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&says); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return &Token{parsed, says.Issuer}, nil
}

// Verifier tells whether a JSON Web Token is its issuer's, and meant for us.
type Verifier struct {
	// Keys are the issuer's.
	Keys *KeySet
	// Issuer is who must have made the token.
	Issuer string
	// Audience are the names under which we may be meant; one is needed.
	Audience []string
	// Leeway is by how much clocks may differ.
	Leeway time.Duration
}

// Verify returns what a token claims. It fails with [ErrUnjudged] if nobody can
// say whether that is true, and otherwise if the token is not valid.
func (v *Verifier) Verify(ctx context.Context, now time.Time, token *Token) (Claims, error) {
	keys, err := v.Keys.find(ctx, token.parsed.Headers[0].KeyID)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errUnknownID
	}
	var standard jwt.Claims
	var all Claims
	if err := verify(token.parsed, keys, &callerOf(ctx).tries, &standard, &all); err != nil {
		return nil, err
	}
	if standard.Expiry == nil {
		return nil, errNoExpiry
	}
	expected := jwt.Expected{Issuer: v.Issuer, AnyAudience: v.Audience, Time: now}
	if err := standard.ValidateWithLeeway(expected, v.Leeway); err != nil {
		return nil, err
	}
	return all, nil
}

// verify reads the claims of a token that one of the keys has signed, as long as
// there are checks left.
func verify(token *jwt.JSONWebToken, keys []jose.JSONWebKey, left *int, claims ...any) error {
	algorithm := token.Headers[0].Algorithm
	err := errNoKeyFits
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != algorithm {
			continue
		}
		if *left == 0 {
			return errTooManyKeys
		}
		*left--
		if err = token.Claims(key.Key, claims...); err == nil {
			return nil
		}
	}
	return err
}
