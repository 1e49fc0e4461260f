// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

// A Redis that has been away for so long that nobody asks any more is asked
// again when it is back, though there is no connection left to ask by.
func TestRedisIsBack(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no servers")
	}
	server := redistest.Start(t)
	var told []bool
	s, err := Open(Options{Addresses: []string{server.Address}, Changed: func(err error) { told = append(told, err == nil) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Release() }()
	ping := func() error { return s.Client().Ping(context.Background()).Err() }
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	for range failures + 3 {
		if ping() == nil {
			t.Fatal("a killed server answers")
		}
	}
	if !s.Away() || !errors.Is(ping(), ErrAway) {
		t.Errorf("away: %t, %v", s.Away(), ping())
	}
	server.Restart()
	for end := time.Now().Add(20 * retryAfter); ping() != nil; {
		if time.Now().After(end) {
			t.Fatalf("still %v", ping())
		}
		time.Sleep(retryAfter / 20)
	}
	if len(told) != 2 || told[0] || !told[1] {
		t.Errorf("was told %v, want that it is away and that it is back", told)
	}
}
