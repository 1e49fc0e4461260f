// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

// memory is what handlers remember of their callers. It outlives the configs,
// so that a reload forgets nothing, and is one for all of Caddy: a client is
// the same in every block that names it.
type memory struct {
	book     *limits.Book
	keeper   keep.Keeper
	failures auth.Failures
	reached  reached
}

var memories = caddy.NewUsagePool()

// keepEvery is how often what clients have used is written down.
const keepEvery = time.Second

// memoryKey is the only key in memories.
const memoryKey = "callers"

// openMemory returns the memory, which must be closed once.
func openMemory() (*memory, error) {
	shared, _, err := memories.LoadOrNew(memoryKey, func() (caddy.Destructor, error) {
		book := limits.NewBook()
		return &memory{book: book, keeper: keep.Keeper{
			Book: book, Groups: limits.Parts, Folder: "limits", What: "what clients have used",
			Logger: "http.handlers.llm_proxy", Every: keepEvery,
		}}, nil
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
	m.keeper.Close()
	return nil
}
