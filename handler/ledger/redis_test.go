// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
)

// Records get into the stream in their order, also those of a time when Redis
// was away.
func TestAStreamHoldsTheRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("-short starts no servers")
	}
	server := redistest.Start(t)
	sink, err := (&Redis{Redis: redisconf.Redis{Addresses: []string{server.Address}}}).Open()
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	w := NewWriter(sink, zap.NewNop())
	write(w, 0, 600)
	server.Restart()
	write(w, 600, 1000)
	w.Release()
	<-w.Done()

	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	entries, err := client.XRange(context.Background(), "caddy_llm:ledger", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1000 || w.dropped.Load() != 0 {
		t.Fatalf("the stream holds %d records, %d were dropped", len(entries), w.dropped.Load())
	}
	for i, entry := range entries {
		var record Record
		if err := json.Unmarshal([]byte(entry.Values["record"].(string)), &record); err != nil || record.ID != strconv.Itoa(i) {
			t.Fatalf("entry %d is %v: %v", i, entry.Values, err)
		}
	}
}
