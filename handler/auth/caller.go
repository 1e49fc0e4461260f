// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"net/netip"
)

// callerKey is under which a context has its caller.
type callerKey struct{}

// caller is whose request brings the tokens.
type caller struct {
	// from is the host's address, as [Host] knows it; the zero one if it is
	// not known.
	from netip.Addr
	// tries is how many checks of signatures the request has left.
	tries int
}

// WithCaller returns a context for the tokens of one request: they have no more
// checks of signatures than a single one, and what is asked for their sake is
// asked for that address, of which no single one may take all that there is.
func WithCaller(ctx context.Context, from netip.Addr) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{Host(from), maxTries})
}

func callerOf(ctx context.Context) *caller {
	if known, ok := ctx.Value(callerKey{}).(*caller); ok {
		return known
	}
	return &caller{tries: maxTries}
}
