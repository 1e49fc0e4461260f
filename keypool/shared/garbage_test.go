// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// Whatever stands in the streams: nobody is hurt, and what makes sense is heard.
func TestGarbageInTheStreams(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	a := join(t, server.Address)
	client, ctx := clientOf(t, server), context.Background()
	rest := `{"provider":"openai","key":"` + keypool.Fingerprint("secret-0") + `","kind":"rest","class":"rate_limited",`
	for name, values := range map[string][]any{
		"no version":      {"by", "x", "facts", "[" + rest + `"model":"1","left_ms":60000}]`},
		"another version": {"v", "2", "by", "x", "facts", "[" + rest + `"model":"2","left_ms":60000}]`},
		"no JSON":         {"v", "1", "by", "x", "facts", "["},
		"another shape":   {"v", "1", "by", "x", "facts", `{"facts":1}`},
		"nothing":         {"v", "1"},
		"null":            {"v", "1", "facts", `[null,null]`},
		"too long":        {"v", "1", "facts", "[" + rest + `"model":"3","left_ms":60000}` + strings.Repeat(" ", maxEntry) + "]"},
		"other keys":      {"v", "1", "facts", `[{"provider":"openai","key":"nothing","kind":"disabled"},{"provider":"x","place":"place","kind":"rest"}]`},
		"unknown words":   {"v", "1", "facts", "[" + strings.Replace(rest, "rate_limited", "tired", 1) + `"model":"4","left_ms":60000},{"provider":"openai","place":"place","kind":"soon"}]`},
		"long names":      {"v", "1", "facts", "[" + rest + `"model":"` + strings.Repeat("x", 1000) + `","left_ms":60000}]`},
		"for ever":        {"v", "1", "facts", "[" + rest + `"model":"6","left_ms":9223372036854775807,"since_ms":-9223372036854775808,"strikes":-5}]`},
	} {
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: "caddy_llm:{pool}:facts", Values: values}).Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for stream, text := range map[string]string{
		"spent": `[{"provider":"openai","key":"` + keypool.Fingerprint("secret-0") + `","requests":9223372036854775807,"tokens":-9223372036854775808,"requests_full_ms":9223372036854775807}]`,
		"pins":  `[{"provider":"openai","object":"","key":"k0"},{"provider":"openai","object":"resp","key":""},{"provider":"none","object":"resp","key":"k0"}]`,
	} {
		client.XAdd(ctx, &redis.XAddArgs{Stream: "caddy_llm:{pool}:" + stream, Values: []any{"v", "1", "by", "x", stream, text}})
	}
	// An entry of the far future, behind which all others must come.
	if err := client.XAdd(ctx, &redis.XAddArgs{Stream: "caddy_llm:{pool}:facts", ID: "18446744073709551000-0", Values: []any{"v", "1", "by", "x", "facts", "[" + rest + `"model":"good","left_ms":60000}]`}}).Err(); err != nil {
		t.Fatal(err)
	}
	soon(t, "what makes sense is heard", func() bool { return a.rest("good") > 0 })
	status := a.pool.Snapshot()[0]
	if len(status.CoolingModels) != 2 || a.rest("6") > time.Hour || a.pins.Len() != 0 {
		t.Errorf("it rests for %v; %d pins", status.CoolingModels, a.pins.Len())
	}
	b := join(t, server.Address)
	soon(t, "a newcomer gets through", func() bool { return b.rest("good") > 0 })
	b.limit(t, "k0", "m", time.Minute)
	soon(t, "they go on", func() bool { return a.rest("m") > 0 })
}

// A Redis that is there, but with something else in the place of a stream, is
// reported once, and is well when that is gone.
func TestSomethingElseInThePlaceOfAStream(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	client, ctx := clientOf(t, server), context.Background()
	client.Set(ctx, "caddy_llm:{pool}:facts", "no stream", 0)
	a := join(t, server.Address)
	if err := <-a.reports; err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("reported: %v", err)
	}
	a.limit(t, "k0", "m", time.Minute)
	client.Del(ctx, "caddy_llm:{pool}:facts")
	if err := <-a.reports; err != nil {
		t.Errorf("reported: %v", err)
	}
	b := join(t, server.Address)
	soon(t, "it is told", func() bool { return b.rest("m") > 0 })
	if len(a.reports) != 0 {
		t.Errorf("also reported: %v", <-a.reports)
	}
}

// Streams do not grow for ever.
func TestStreamsAreBounded(t *testing.T) {
	needsServers(t)
	server := redistest.Start(t)
	a := join(t, server.Address)
	client, ctx := clientOf(t, server), context.Background()
	pipeline := client.Pipeline()
	for range 3 * streams[facts].entries {
		pipeline.XAdd(ctx, &redis.XAddArgs{Stream: "caddy_llm:{pool}:facts", Values: []any{"v", "0"}})
	}
	if _, err := pipeline.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	a.limit(t, "k0", "m", time.Minute)
	soon(t, "it is cut", func() bool {
		return client.XLen(ctx, "caddy_llm:{pool}:facts").Val() < int64(streams[facts].entries)+200
	})
}

// Whatever an entry says, nothing breaks and no rest is longer than it may be.
func FuzzEntry(f *testing.F) {
	key := keypool.Fingerprint("secret-0")
	for _, seed := range []string{
		`[{"provider":"openai","key":"` + key + `","kind":"rest","model":"m","class":"rate_limited","since_ms":10,"left_ms":1000,"strikes":1}]`,
		`[{"provider":"openai","key":"` + key + `","kind":"rest","whole":true,"class":"credential","left_ms":1e9,"stated_ms":5}]`,
		`[{"provider":"openai","key":"` + key + `","kind":"free","whole":true},{"provider":"openai","key":"` + key + `","kind":"enabled","again":true}]`,
		`[{"provider":"openai","place":"place","kind":"rest","model":"m","class":"upstream","left_ms":1000}]`,
		`[{"provider":"openai","place":"place","kind":"rest","whole":true,"class":"not_sent","left_ms":1000},{"provider":"openai","place":"place","kind":"free","whole":true}]`,
		`[{"provider":"openai","key":"` + key + `","requests":5,"tokens":-5,"requests_full_ms":77}]`,
		`[{"provider":"openai","object":"resp_1","key":"k0"}]`,
	} {
		f.Add(seed, "1700000000000-0", true)
	}
	opened, err := store.Open(store.Options{Addresses: []string{"127.0.0.1:1"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = opened.Release() })
	f.Fuzz(func(t *testing.T, text, id string, own bool) {
		i := &instance{Sharer: newSharer(Options{Store: opened}), pool: newPool(t), pins: keypool.NewPins(10, time.Hour, time.Now)}
		i.scope.update([]*Source{i.source()})
		by := "another"
		if own {
			by = i.name
		}
		for stream := range streams {
			i.hear(stream, redis.XMessage{ID: id, Values: map[string]any{"v": version, "by": by, streams[stream].name: text}}, time.Now())
		}
		for _, status := range i.pool.Snapshot() {
			for model, rest := range status.CoolingModels {
				if time.Until(rest.Until) > time.Hour {
					t.Errorf("rests %s for %q", time.Until(rest.Until), model)
				}
			}
			if time.Until(status.CoolingUntil) > time.Hour && status.State != "disabled" {
				t.Errorf("rests %s", time.Until(status.CoolingUntil))
			}
		}
		i.scope.gather(&news{now: time.Now()})
	})
}
