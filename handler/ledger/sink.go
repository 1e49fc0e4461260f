// SPDX-License-Identifier: Apache-2.0

package ledger

import "context"

// Sink is where records go. It is used by one goroutine.
type Sink interface {
	// Write keeps the records, all or none. If it fails, it is given the same
	// ones again. The context ends when there is no more time for that.
	Write(ctx context.Context, records []*Record) error
	// Close lets go of what the sink holds open.
	Close() error
}

// Module is a guest module in the namespace llm.ledger.
type Module interface {
	// Open makes the sink. It is called once for all configs that say the
	// same, so the sink must not use what ends with a config; and it must not
	// wait for a network, nor change a file: that is for the first Write.
	Open() (Sink, error)
}
