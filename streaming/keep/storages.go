// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"slices"
	"sync"

	"github.com/caddyserver/certmagic"
)

// Storages are those of the configs that are alive. A storage may end with its
// config, so the newest is used. The zero value has none.
type Storages struct {
	mu   sync.Mutex
	lent []lentStorage
}

type lentStorage struct {
	by      any
	storage certmagic.Storage
}

// Lend adds the storage of the config that by belongs to.
func (s *Storages) Lend(by any, storage certmagic.Storage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = append(s.lent, lentStorage{by, storage})
}

// GiveBack takes the storages that by has lent away again.
func (s *Storages) GiveBack(by any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = slices.DeleteFunc(s.lent, func(l lentStorage) bool { return l.by == by })
}

// Newest returns the newest storage, or nil if there is none.
func (s *Storages) Newest() certmagic.Storage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lent) == 0 {
		return nil
	}
	return s.lent[len(s.lent)-1].storage
}
