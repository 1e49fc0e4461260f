// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
)

// ErrRefused is that a sink is there but will never take what it was given.
// What else a write fails with is taken to pass.
var ErrRefused = errors.New("the records cannot be kept")

// Sink is where records go. It is used by one goroutine.
type Sink interface {
	// Write keeps the records, all or none. If it fails, it is given the same
	// ones again: with [ErrRefused] one by one, and those with which it fails so
	// again are lost. The context ends when there is no more time for that.
	Write(ctx context.Context, records []*Record) error
	// Close lets go of what the sink holds open.
	Close() error
}

// Module is a guest module in the namespace llm.ledger.
type Module interface {
	// Name tells the ledger from others: it is all that the config says of it,
	// with what placeholders stand for, so that another password makes another
	// ledger. Nobody gets to see it.
	Name() (string, error)
	// Open makes the sink. It is called once for all configs with the same
	// name, so the sink must not use what ends with a config; and it must not
	// wait for a network, nor change a file: that is for the first Write.
	Open() (Sink, error)
}
