// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

// book is a roster as a keeper copies it: so that a start while the store is
// away knows what was known last.
type book struct{ *Roster }

// Snapshot writes a part of the clients down.
func (b book) Snapshot(_ time.Time, part int) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.changed[part] {
		return nil, false, nil
	}
	b.changed[part] = false
	texts := make(map[string]json.RawMessage, len(b.texts[part]))
	for id, text := range b.texts[part] {
		if json.Valid(text) { // else it is of no use to anybody
			texts[id] = text
		}
	}
	text, err := json.Marshal(texts)
	if err != nil {
		return nil, true, fmt.Errorf("writing a copy of clients: %w", err)
	}
	return text, true, nil
}

// Changed takes back that a part was asked for.
func (b book) Changed(part int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed[part] = true
}

// Restore takes in what Snapshot has written, unless the store itself has been
// heard meanwhile.
func (b book) Restore(_ time.Time, text []byte) error {
	var texts map[string]json.RawMessage
	if err := json.Unmarshal(text, &texts); err != nil {
		return fmt.Errorf("reading a copy of clients: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.read {
		return nil
	}
	changes := make([]Change, 0, len(texts))
	for id, text := range texts {
		changes = append(changes, Change{id, text})
	}
	b.putLocked(changes)
	b.heard.Store(true)
	return nil
}

// Interface guard
var _ keep.Book = book{}
