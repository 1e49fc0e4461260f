// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// everywhere runs a test with counts in memory and with counts in a real
// Redis, which must do the same.
func everywhere(t *testing.T, test func(t *testing.T, fresh func() Counts)) {
	t.Run("memory", func(t *testing.T) { test(t, func() Counts { return NewBook() }) })
	t.Run("redis", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short starts no servers")
		}
		server := redistest.Start(t)
		n := 0
		test(t, func() Counts {
			n++
			return newClocked(t, server, fmt.Sprint(n))
		})
	})
}

// openStore opens a store of a server, under a prefix.
func openStore(t *testing.T, server *redistest.Server, prefix string) *store.Store {
	t.Helper()
	opened, err := store.Open(store.Options{Addresses: []string{server.Address}, Prefix: prefix, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Release() })
	return opened
}

// clocked is a Shared whose Redis goes by the clock of the test, and is told
// at once of what it is owed.
type clocked struct{ *Shared }

func newClocked(t *testing.T, server *redistest.Server, prefix string) *clocked {
	t.Helper()
	c := &clocked{newShared(NewBook(), openStore(t, server, prefix), false, func(err error) { t.Error(err) })}
	source := strings.Replace(countSource, "redis.call('TIME')", "redis.call('MGET', 'seconds', 'microseconds')", 1)
	c.script = redis.NewScript(source)
	return c
}

func (c *clocked) at(now time.Time) {
	micro := now.UnixMicro()
	if err := c.store.Client().MSet(context.Background(), "seconds", micro/1e6, "microseconds", micro%1e6).Err(); err != nil {
		panic(err)
	}
}

func (c *clocked) take(ctx context.Context, now time.Time, h *Hold) error {
	c.at(now)
	return c.Shared.take(ctx, now, h)
}

func (c *clocked) settle(now time.Time, h *Hold) {
	c.at(now)
	c.Shared.settle(now, h)
	c.pay(now)
}
