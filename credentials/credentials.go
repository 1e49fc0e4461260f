// SPDX-License-Identifier: Apache-2.0

// Package credentials keeps credentials at hand that are lent for a time: the
// tokens of OAuth, and the session keys that requests are signed with. They
// are asked for when the first call needs one, and anew before they expire.
//
// A [Source] knows where they come from; each is a guest module in a package
// of its own. A [Keeper] lends out what its source has obtained.
package credentials

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Source obtains credentials. It is a Caddy module in the namespace
// llm.credentials. It is used by one goroutine at a time, at most.
type Source interface {
	// Identity says whose credentials these are, such as the id of a client or
	// of an account. What is known of the key belongs to it, so it must stay
	// what it is when a secret is exchanged for another. It is known without
	// asking anybody, and no secret.
	Identity() string

	// Obtain asks for a grant. Last is the one before it, nil at first. Its
	// errors must not hold secrets: they are logged.
	Obtain(ctx context.Context, last *Grant) (*Grant, error)
}

// Addressed is a source that depends on where its requests go.
type Addressed interface {
	// Address says so when the config is loaded. What the source cannot work
	// with is an error.
	Address(base *url.URL) error
}

// Grant is a credential that was lent. It must not be changed.
type Grant struct {
	// Secret goes with a request as a bearer token. If there is a signature in
	// its place, it is what that is made with.
	Secret keypool.Secret

	// Sign puts a signature into the header of a request about which all else
	// is settled; body is what will be sent. Nil means that there is none.
	Sign func(req *http.Request, body []byte) error

	// Expires is when the grant ceases to be good. The zero time means that
	// nobody has said so.
	Expires time.Time

	// Refresh is what the next grant must be asked for with, where each brings
	// along its own. Empty where that stays the same.
	Refresh keypool.Secret
}

// UnavailableError is that there is no credential at the moment.
type UnavailableError struct {
	// Until is when it is worth asking again.
	Until time.Time
	// Err is why the last attempt to obtain one failed; nil if that is still
	// under way.
	Err error
}

// Error says why.
func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "no credential yet: it was asked for, and the answer is slow"
	}
	return "no credential: " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *UnavailableError) Unwrap() error { return e.Err }
