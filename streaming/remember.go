// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

// Where what is known of keys is kept.
const (
	stateMemory  = "memory"
	statePersist = "persist"
)

const (
	// rememberEvery is how often what is known of keys is written down.
	rememberEvery = 10 * time.Second
	// restsGroup is the group of what keys rest from; those of the pins follow.
	restsGroup = 0
)

// remembered is what is known of a provider's keys, as far as it is kept over
// restarts: what they rest from, and which of them made which stored object.
// It is shared by all configs that name the provider.
type remembered struct {
	keep.Keeper
	provider string
	pins     *keypool.Pins

	mu sync.Mutex
	// shelf is what was written down of keys that are not there yet.
	shelf map[string]keypool.Memory
	// written is the hash of the rests that were written down.
	written [sha256.Size]byte
}

var memories = caddy.NewUsagePool()

// remember begins to keep what is known of the provider's keys in a storage,
// and to recall what is kept there.
func (p *Provider) remember(storage certmagic.Storage) error {
	shared, _, err := memories.LoadOrNew(p.Name, func() (caddy.Destructor, error) {
		m := &remembered{provider: p.Name, pins: p.stored.Pins, shelf: map[string]keypool.Memory{}, written: sha256.Sum256([]byte("{}"))}
		m.Keeper = keep.Keeper{
			Book: m, Groups: 1 + keypool.PinGroups, Folder: "keys/" + url.PathEscape(p.Name), What: "what is known of keys",
			Logger: "http.reverse_proxy.transport.llm", Every: rememberEvery,
		}
		return m, nil
	})
	if err != nil {
		return fmt.Errorf("opening what is known of %s: %w", p.Name, err)
	}
	p.memory = shared.(*remembered)
	p.recalled = p.memory.Lend(p, storage)
	return nil
}

// forget ends that. What has changed since is written down, if no other config
// names the provider.
func (p *Provider) forget() error {
	if p.memory == nil {
		return nil
	}
	_, err := memories.Delete(p.Name)
	p.memory.GiveBack(p)
	p.memory = nil
	return err
}

// Destruct is called when no config names the provider any more.
func (m *remembered) Destruct() error {
	m.Close()
	return nil
}

// recall gives a key's state what was written down of it. m may be nil.
func (m *remembered) recall(fingerprint string, state *keypool.State) {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.take(fingerprint, state, time.Now())
	}
}

// take takes what was written down of a key from the shelf.
func (m *remembered) take(fingerprint string, state *keypool.State, now time.Time) {
	if memory, ok := m.shelf[fingerprint]; ok {
		delete(m.shelf, fingerprint)
		state.Recall(memory, now)
	}
}

// states yields the states of the provider's keys, by their fingerprints.
func (m *remembered) states(yield func(fingerprint string, state *keypool.State)) {
	keyStates.Range(func(key, value any) bool {
		fingerprint, ours := strings.CutPrefix(key.(string), m.provider+"/")
		if state, isKey := value.(*keypool.State); ours && isKey {
			yield(fingerprint, state)
		}
		return true
	})
}

// kept is one group, as it is written down.
type kept struct {
	// Keys are what keys rest from, by their fingerprints.
	Keys map[string]keypool.Memory `json:"keys,omitempty"`
	// Pins are stored objects.
	Pins []keypool.Pin `json:"pins,omitempty"`
}

// Snapshot writes a group down; see [keep.Book].
func (m *remembered) Snapshot(now time.Time, group int) (text []byte, changed bool, err error) {
	if group != restsGroup {
		pins, changed := m.pins.Remember(group - 1)
		if !changed {
			return nil, false, nil
		}
		text, err = json.Marshal(kept{Pins: pins})
		return text, true, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if text, err = m.rests(now); err != nil {
		return nil, false, err
	}
	hash := sha256.Sum256(text)
	changed = hash != m.written
	m.written = hash
	return text, changed, nil
}

// rests writes down what keys rest from. Of those that are not there yet, what
// was written down is as good as it was.
func (m *remembered) rests(now time.Time) ([]byte, error) {
	keys := map[string]keypool.Memory{}
	for fingerprint, memory := range m.shelf {
		if !memory.Over(now) {
			keys[fingerprint] = memory
		}
	}
	m.states(func(fingerprint string, state *keypool.State) {
		delete(keys, fingerprint)
		if memory := state.Remember(now); !memory.Over(now) {
			keys[fingerprint] = memory
		}
	})
	return json.Marshal(kept{Keys: keys})
}

// Changed takes back that a group was asked for.
func (m *remembered) Changed(group int) {
	if group != restsGroup {
		m.pins.Changed(group - 1)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written = [sha256.Size]byte{}
}

// Restore takes in what was written down.
func (m *remembered) Restore(now time.Time, text []byte) error {
	var group kept
	if err := json.Unmarshal(text, &group); err != nil {
		return fmt.Errorf("reading what is known of %s: %w", m.provider, err)
	}
	m.pins.Recall(group.Pins)
	m.mu.Lock()
	defer m.mu.Unlock()
	for fingerprint, memory := range group.Keys {
		if len(m.shelf) < maxShelf && !memory.Over(now) {
			m.shelf[fingerprint] = memory
		}
	}
	m.states(func(fingerprint string, state *keypool.State) { m.take(fingerprint, state, now) })
	if group.Keys == nil {
		return nil
	}
	// What was just read need not be written.
	text, err := m.rests(now)
	m.written = sha256.Sum256(text)
	return err
}

// maxShelf bounds how many keys are recalled that are not there.
const maxShelf = 10_000

// Interface guards
var (
	_ keep.Book        = (*remembered)(nil)
	_ caddy.Destructor = (*remembered)(nil)
)
