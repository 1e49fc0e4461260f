// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
)

const redacted = "REDACTED"

// Secret is a credential. Whatever prints it prints REDACTED; only
// [Secret.Reveal] gives it away. The zero value is an empty secret.
type Secret struct {
	// value is a pointer because package fmt does not call the methods of a
	// value in an unexported field, nor after a wrong verb, but prints what it
	// is made of: then an address shows, not the credential.
	value *string
}

// NewSecret wraps a credential.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the credential itself, to be put into a request.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no credential.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal compares two secrets in constant time. The == operator does not tell
// whether two secrets are equal.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns REDACTED.
func (Secret) String() string { return redacted }

// GoString returns REDACTED.
func (Secret) GoString() string { return redacted }

// Format prints REDACTED, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns REDACTED; encoding/json uses it, too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Fingerprint returns the first eight hex digits of a secret's SHA-256 hash:
// enough to tell keys apart, useless to find one.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:4])
}
