// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// tries is how often a change is tried that others have come before.
const tries = 20

// RefusedError is a client that a handler in force would not take.
type RefusedError struct{ cause error }

func (e RefusedError) Error() string { return e.cause.Error() }
func (e RefusedError) Unwrap() error { return e.cause }

// Change changes a client in the store, and here. edit gets the client's text,
// or nil if there is none, and returns what is to be in its place, or nil for
// nothing. It may be called again, if somebody else was faster. What it returns
// is checked by the handlers in force first; see [RefusedError].
func (r *Roster) Change(ctx context.Context, id string, edit func(before []byte) (after []byte, err error)) error {
	// Whoever asked may be gone before the store has answered, but a change is
	// made whole or not at all.
	ctx = context.WithoutCancel(ctx)
	r.store.Lock()
	defer r.store.Unlock()
	for range tries {
		// Others may have changed it just now. If that cannot be read, the
		// client may be in a part that can.
		_ = r.syncLocked(ctx)
		before := r.Text(id)
		after, err := edit(before)
		if err != nil {
			return err
		}
		if bytes.Equal(before, after) {
			return nil
		}
		if err := r.check(id, after); err != nil {
			return err
		}
		err = r.write(ctx, id, before, after)
		if err == nil {
			r.put(Change{id, after})
			return nil
		}
		if !errors.Is(err, errMoved) {
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, errMoved)
}

// check asks the handlers in force whether they would take a client.
func (r *Roster) check(id string, text []byte) error {
	if text == nil {
		return nil
	}
	if len(text) > MaxEntry {
		return RefusedError{fmt.Errorf("longer than %d bytes", MaxEntry)}
	}
	for _, member := range r.InForce() {
		if err := member.Check(id, text); err != nil {
			return RefusedError{err}
		}
	}
	return nil
}

// write writes to the store. One that has never been written to, or has lost
// everything, is given what is known first.
func (r *Roster) write(ctx context.Context, id string, before, after []byte) error {
	err := r.backend.write(ctx, id, before, after)
	if !errors.Is(err, errLost) {
		return err
	}
	if err := r.backend.fill(ctx, r.Texts()); err != nil {
		return err
	}
	return r.backend.write(ctx, id, before, after)
}

// put puts a change in force.
func (r *Roster) put(change Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.putLocked([]Change{change})
}
