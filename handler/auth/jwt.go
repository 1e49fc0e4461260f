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

// triesKey is under which a context has how many checks are left.
type triesKey struct{}

// WithTries returns a context in which several tokens have no more checks of
// signatures than a single one.
func WithTries(ctx context.Context) context.Context {
	left := maxTries
	return context.WithValue(ctx, triesKey{}, &left)
}

func triesLeft(ctx context.Context) *int {
	if left, ok := ctx.Value(triesKey{}).(*int); ok {
		return left
	}
	left := maxTries
	return &left
}

// ErrNoKeys says that a token cannot be judged because the issuer's keys are
// not known yet.
var ErrNoKeys = errors.New("the keys of the tokens' issuer are not known yet")

// algorithms are those of asymmetric keys. With a shared secret, or without
// any, whoever can verify a token could also make one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

// Verifier tells from a JSON Web Token who is calling.
type Verifier struct {
	// Keys are the issuer's.
	Keys *KeySet
	// Issuer is who must have made the token.
	Issuer string
	// Audience are the names under which we may be meant; one is needed.
	Audience []string
	// Claim holds the client's id.
	Claim string
	// Leeway is by how much clocks may differ.
	Leeway time.Duration
}

// IsToken tells whether a secret looks like a token rather than a key.
func IsToken(secret string) bool {
	return strings.HasPrefix(secret, "eyJ") && strings.Count(secret, ".") == 2
}

// Verify returns the id of the client that a token is about. It fails with
// [ErrNoKeys] if that cannot be said, and otherwise if the token is not valid.
func (v *Verifier) Verify(ctx context.Context, now time.Time, token string) (string, error) {
	if len(token) > maxToken {
		return "", errors.New("the token is too long")
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	keys, err := v.Keys.find(ctx, parsed.Headers[0].KeyID)
	if err != nil {
		return "", err
	}
	var standard jwt.Claims
	var all map[string]any
	if err := verify(parsed, keys, triesLeft(ctx), &standard, &all); err != nil {
		return "", err
	}
	if standard.Expiry == nil {
		return "", errors.New("the token does not expire")
	}
	expected := jwt.Expected{Issuer: v.Issuer, AnyAudience: v.Audience, Time: now}
	if err := standard.ValidateWithLeeway(expected, v.Leeway); err != nil {
		return "", err
	}
	id, _ := all[v.Claim].(string)
	if !ValidID(id) {
		return "", fmt.Errorf("the token's claim %q is no client id", v.Claim)
	}
	return id, nil
}

// verify reads the claims of a token that one of the keys has signed, as long as
// there are checks left.
func verify(token *jwt.JSONWebToken, keys []jose.JSONWebKey, left *int, claims ...any) error {
	algorithm := token.Headers[0].Algorithm
	err := errors.New("no key of the issuer's fits the token")
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != algorithm {
			continue
		}
		if *left == 0 {
			return errors.New("there are too many keys to check the token against, or too many tokens in the request")
		}
		*left--
		if err = token.Claims(key.Key, claims...); err == nil {
			return nil
		}
	}
	return err
}
