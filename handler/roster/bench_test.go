// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

// What a hundred thousand clients take in a store: to read them all, to
// remember them, to change one.
func BenchmarkHundredThousandClients(b *testing.B) {
	const n = 100_000
	texts := make(map[string][]byte, n)
	for i := range n {
		id := fmt.Sprint("client-", i)
		texts[id] = fmt.Appendf(nil, `{"id":%q,"secrets":["sha256:%064d"]}`, id, i)
	}
	server := redistest.Start(b)
	dir := b.TempDir()
	for name, open := range map[string]func() backend{
		"storage": func() backend { return inFolder(dir) },
		"redis":   func() backend { return inRedis(b, server, "bench") },
	} {
		if err := open().fill(b.Context(), texts); err != nil {
			b.Fatal(err)
		}
		b.Run("read from "+name, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var last *Roster
			for b.Loop() {
				last = newRoster(name, open(), 0)
				if err := last.Sync(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(last.Texts())), "B/client")
		})
		b.Run("change one in "+name, func(b *testing.B) {
			r := newRoster(name, open(), 0)
			if err := r.Sync(b.Context()); err != nil {
				b.Fatal(err)
			}
			round := 0
			b.ReportAllocs()
			for b.Loop() {
				round++
				err := r.Change(b.Context(), "client-5", func([]byte) ([]byte, error) { return fmt.Appendf(nil, `{"n":%d}`, round), nil })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
