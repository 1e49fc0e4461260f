// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

// The models of the simulated provider, each with a pace of its own.
const (
	// modelCall answers whole, with about 1 KiB.
	modelCall = "bench-call"
	// modelLong answers with about 4 KiB, whose length it does not state.
	modelLong = "bench-long"
	// modelStream streams 100 events, 20 ms apart.
	modelStream = "bench-stream"
	// modelShort streams 4 events, 5 ms apart.
	modelShort = "bench-short"
	// modelSlow streams an event per second.
	modelSlow = "bench-slow"
	// modelBurst streams as many events as the number behind it says, without
	// a pause.
	modelBurst = "bench-burst-"
	// modelRotate answers as modelCall does. A number is put behind it, so that
	// no key has a rest from it yet.
	modelRotate = "bench-rotate-"
)

// The keys of the simulated provider.
const (
	goodKeys   = 1000
	limitedKey = "bench-limited"
	chunkBytes = 24
	callChunks = 43
)

func goodKey(i int) string { return "bench-" + strconv.Itoa(i) }

// serveProvider is the provider's own process.
func serveProvider(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening as the provider: %w", err)
	}
	server := &http.Server{Handler: newProvider(), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

// newProvider returns the simulator, with its clock in every event.
func newProvider() http.Handler {
	opts := simulator.Options{
		Chunks:    callChunks,
		ChunkSize: chunkBytes,
		Stamps:    true,
		Keys:      []simulator.Key{{Secret: limitedKey, Fault: simulator.Fault{Name: simulator.FaultRateLimited}}},
		Rules: []simulator.Rule{
			{Match: modelLong, Chunks: 4 * callChunks},
			{Match: modelStream, Chunks: 100, Delay: 20 * time.Millisecond},
			{Match: modelShort, Chunks: 4, Delay: 5 * time.Millisecond},
			{Match: modelSlow, Chunks: 60, Delay: time.Second},
			{Match: modelBurst + "10", Chunks: 10},
			{Match: modelBurst + "100", Chunks: 100},
			{Match: modelBurst + "1000", Chunks: 1000},
		},
	}
	for i := range goodKeys {
		opts.Keys = append(opts.Keys, simulator.Key{Secret: goodKey(i)})
	}
	return simulator.New(opts)
}

// requests returns what makes the requests of w for t.
func requests(t *target, w *work) func() []byte {
	key := t.key
	if w.key != "" {
		key = w.key
	}
	build := func(model string) []byte {
		body, err := json.Marshal(map[string]any{
			"model": model, "stream": w.stream,
			"messages": []map[string]string{{"role": "user", "content": prompt(w.prompt)}},
		})
		if err != nil {
			panic(err) // our own values always encode
		}
		return fmt.Appendf(nil, "POST %s/v1/chat/completions HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n"+
			"Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			t.prefix, t.address, key, len(body), body)
	}
	if w.model != modelRotate {
		request := build(w.model)
		return func() []byte { return request }
	}
	var count atomic.Int64
	return func() []byte { return build(modelRotate + strconv.FormatInt(count.Add(1), 10)) }
}

// prompt returns n bytes of something like text, escapes included.
func prompt(n int) string {
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, "Please weigh the options in line %d and say \"why\" in a few words.\n", i)
	}
	return text.String()[:n]
}
