// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"time"
)

// What happens to an answer whose client has gone away.
const (
	disconnectCancel = "cancel"
	disconnectDrain  = "drain"
)

// How long and how much of an answer is read for nobody.
const (
	maxDrainTime  = 30 * time.Second
	maxDrainBytes = 16 << 20
)

// detachable returns a context for an attempt that ends with the client's, but
// can be detached from it: then only cancel ends it.
func detachable(client context.Context) (ctx context.Context, cancel context.CancelCauseFunc, detach func() bool) {
	ctx, cancel = context.WithCancelCause(context.WithoutCancel(client))
	return ctx, cancel, context.AfterFunc(client, func() { cancel(context.Cause(client)) })
}

// drain reads an answer to its end for the account's sake, within bounds.
func (l *leg) drain() {
	if until := time.Now().Add(maxDrainTime); l.watch.until.IsZero() || until.Before(l.watch.until) {
		l.watch.until = until
	}
	buffer := make([]byte, 32<<10)
	for total := 0; total < maxDrainBytes; {
		n, err := l.read(buffer)
		total += n
		if err != nil {
			return
		}
	}
}
