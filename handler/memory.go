// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// memory is what handlers remember of their callers. It outlives the configs,
// so that a reload forgets nothing, and is one for all of Caddy: a client is
// the same in every block that names it.
type memory struct {
	book     *limits.Book
	keeper   keeper
	failures auth.Failures
	reached  reached
}

var memories = caddy.NewUsagePool()

// memoryKey is the only key in memories.
const memoryKey = "callers"

// openMemory returns the memory, which must be closed once.
func openMemory() (*memory, error) {
	shared, _, err := memories.LoadOrNew(memoryKey, func() (caddy.Destructor, error) {
		book := limits.NewBook()
		return &memory{book: book, keeper: keeper{book: book}}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the memory of callers: %w", err)
	}
	return shared.(*memory), nil
}

func closeMemory() error {
	_, err := memories.Delete(memoryKey)
	return err
}

// Destruct is called when no config has handlers any more.
func (m *memory) Destruct() error {
	m.keeper.close()
	return nil
}
