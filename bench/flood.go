// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/bench/load"
)

// limitPerSecond is what the limits of the target limited allow.
const limitPerSecond = 150

// flooderKey is the key of the client that the target limited limits.
const flooderKey = "clp-bench-flooder"

// floodPlan shows what those who are served notice of those who are refused:
// beside calls that exceed no limit come others, at a limit or at ten times of
// it.
func floodPlan() plan {
	var p plan
	for _, layer := range []struct {
		name, about string
		flood       flood
	}{
		{"address", "from an address that may make 150", flood{addresses: 1}},
		{"client", "of a client that may make 150, from 32 addresses", flood{addresses: 32, key: flooderKey}},
	} {
		for _, times := range []int{1, 10} {
			beside := layer.flood
			beside.rate = float64(times * limitPerSecond)
			p.works = append(p.works, work{
				name:    fmt.Sprintf("%s_%dx", layer.name, times),
				about:   fmt.Sprintf("100 calls per second, beside %d %s", times*limitPerSecond, layer.about),
				targets: []string{limited},
				model:   modelCall, prompt: 1 << 10, connections: 256, rate: 100, warm: 2 * time.Second, measure: 10 * time.Second,
				flood: &beside,
			})
		}
		p.measures = append(p.measures, measure{
			"served_p99_" + layer.name, "µs",
			of(layer.name+"_10x", limited, latencyP99), of(layer.name+"_1x", limited, latencyP99),
		})
	}
	return p
}

// startFlood begins the work's flood of a target, if there is one. What it
// returns ends it, and tells how many calls of it were refused per second.
func (w *work) startFlood(t *target) (end func() float64) {
	if w.flood == nil {
		return func() float64 { return 0 }
	}
	calls := *w
	calls.key = w.flood.key
	var dialed atomic.Int64
	g := load.Start(load.Load{
		Address: t.address, Request: requests(t, &calls), Status: http.StatusTooManyRequests,
		Connections: w.connections, Rate: w.flood.rate,
		From: func() net.IP { return net.IPv4(127, 0, 1, byte(1+dialed.Add(1)%int64(w.flood.addresses))) },
	})
	refused := make(chan int64, 1)
	go func() {
		time.Sleep(w.ramp + w.warm)
		refused <- g.Measure(w.measure).Calls
	}()
	return func() float64 {
		defer g.Stop()
		return float64(<-refused) / w.measure.Seconds()
	}
}
