// SPDX-License-Identifier: Apache-2.0

// Package roster keeps the clients that are managed while Caddy runs: in
// memory, for the handlers that admit them, and in a store that other instances
// may share.
//
// What a client is, the package does not know: it keeps a text for each id. No
// call ever waits for a store. It is looked at every so often, and what has
// changed in it is handed to the handlers; as long as it cannot be read, what
// is known holds.
package roster

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// partCount is into how many parts the clients are divided, in storages and
	// copies: little is written when little has changed.
	partCount = 256
	// MaxEntry is how long a client's text may be, in bytes.
	MaxEntry = 64 << 10
)

// partOf returns the part that a client is in.
func partOf(id string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id))
	return int(hash.Sum32() % partCount)
}

// Change is what has become of a client: its new text, or nil if it is gone.
type Change struct {
	ID   string
	Text []byte
}

// Member is a handler that admits the clients of a roster.
type Member interface {
	// Take puts changes in force. It must not call the roster. What it cannot
	// take is its own to report.
	Take(changes []Change)
	// Check tells why the member would not take a client of such a text.
	Check(id string, text []byte) error
	// Trouble tells why the member does not admit a client; "" if it does.
	Trouble(id string) string
	// InForce tells whether its config is.
	InForce() bool
}

// Errors of [Roster.Change].
var (
	// ErrUnreachable is that the store cannot be read or written for now.
	ErrUnreachable = errors.New("the store of clients cannot be reached")
	// errMoved is that what was to be changed is not what it was any more.
	errMoved = errors.New("somebody else has changed it meanwhile")
	// errLost is that the store has nothing, although there was something.
	errLost = errors.New("the store has lost its clients")
)

// news is what has happened in a store since it was last read.
type news struct {
	// texts are the clients that may have changed, gone are those that were
	// taken out.
	texts map[string][]byte
	gone  []string
	// whole says which parts texts have whole: who is not in them is gone.
	whole func(part int) bool
}

// backend is where a roster's clients are. It is used by one goroutine at a
// time.
type backend interface {
	// read returns what has happened since the last time, or since the
	// beginning, as far as it can be read. It fails with errLost if the store
	// was never written to, or not since it has lost everything.
	read(ctx context.Context) (news, error)
	// write puts a client's text in the place of another one; nil is none. It
	// fails with errMoved if the other one is not there, and with errLost as
	// read does.
	write(ctx context.Context, id string, before, after []byte) error
	// fill writes all clients into a store that has none, and does nothing if
	// somebody else has.
	fill(ctx context.Context, texts map[string][]byte) error
	// forget has the next read return all there is.
	forget()
}

// Roster is the clients of one store. It is safe for concurrent use.
type Roster struct {
	// name is what the store is called, in messages.
	name    string
	backend backend
	every   time.Duration
	// store guards the backend: it is read, or written, by one at a time.
	store sync.Mutex
	// fresh says that what is known is what the store has.
	fresh atomic.Bool
	// heard says that there is something to go by: the store was read since the
	// start, or a copy of what it had.
	heard atomic.Bool

	mu      sync.Mutex
	texts   [partCount]map[string][]byte
	members []Member
	// changed are the parts of which the copy is out of date.
	changed [partCount]bool
	// read says that the store was read since the start.
	read bool

	stop, first, done chan struct{}
}

func newRoster(name string, b backend, every time.Duration) *Roster {
	r := &Roster{
		name: name, backend: b, every: every,
		stop: make(chan struct{}), first: make(chan struct{}), done: make(chan struct{}),
	}
	for part := range r.texts {
		r.texts[part] = map[string][]byte{}
	}
	return r
}

// Name returns what the store is called.
func (r *Roster) Name() string { return r.name }

// Fresh tells whether what is known is what the store has: if not, there may be
// clients that are not known.
func (r *Roster) Fresh() bool { return r.fresh.Load() }

// Heard tells whether there is anything to go by: if not, not even those
// clients are known that have been there for long.
func (r *Roster) Heard() bool { return r.heard.Load() }

// Text returns the text of a client; nil if there is none of that id.
func (r *Roster) Text(id string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.texts[partOf(id)][id]
}

// Texts returns the texts of all clients by their ids. They must not be
// changed.
func (r *Roster) Texts() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string][]byte{}
	for _, part := range r.texts {
		maps.Copy(all, part)
	}
	return all
}

// Join makes a handler hear of changes from now on. begin gets what is known so
// far, before the first of them.
func (r *Roster) Join(m Member, begin func(known []Change)) {
	r.Known(func(known []Change) {
		begin(known)
		r.members = append(r.members, m)
	})
}

// Known calls do with all that is known. Nothing changes meanwhile.
func (r *Roster) Known(do func(known []Change)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var known []Change
	for _, part := range r.texts {
		for id, text := range part {
			known = append(known, Change{id, text})
		}
	}
	do(known)
}

// Leave ends that.
func (r *Roster) Leave(m Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = slices.DeleteFunc(r.members, func(other Member) bool { return other == m })
}

// InForce returns the members whose configs are in force.
func (r *Roster) InForce() []Member {
	r.mu.Lock()
	members := slices.Clone(r.members)
	r.mu.Unlock()
	return slices.DeleteFunc(members, func(m Member) bool { return !m.InForce() })
}
