// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// sharedCounts holds what is counted in each Redis, by its store. Handlers of
// all configs share it, so that a reload forgets nothing.
var sharedCounts = caddy.NewUsagePool()

// pooledCounts are counts in the pool.
type pooledCounts struct{ *limits.Shared }

// Destruct ends the counting in Redis.
func (c pooledCounts) Destruct() error {
	c.Close()
	return nil
}

// openCounts finds out where use is counted: in memory or, with Redis, for all
// instances together.
func (h *Handler) openCounts() error {
	h.counts, h.closeCounts = h.memory.book, func() error { return nil }
	if h.Redis == nil {
		return nil
	}
	opened, closeStore, err := h.Redis.Open()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if h.closeCounts = closeStore; !h.hasLimits() {
		return nil
	}
	pooled, _, err := sharedCounts.LoadOrNew(opened, func() (caddy.Destructor, error) {
		deny := h.Redis.Denies()
		return pooledCounts{limits.Share(h.memory.book, opened, deny, tellOfCounts)}, nil
	})
	if err != nil {
		return errors.Join(err, closeStore())
	}
	h.counts = pooled.(pooledCounts).Shared
	h.closeCounts = func() error {
		_, err := sharedCounts.Delete(opened)
		return errors.Join(err, closeStore())
	}
	return nil
}

// tellOfCounts logs that something could not be counted in Redis. The counts
// may outlive the config that opened them, so the logger is Caddy's own.
func tellOfCounts(err error) {
	caddy.Log().Named("llm.limits").Warn("limits go by what this instance has counted, and Redis is told later", zap.Error(err))
}
