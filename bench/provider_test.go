// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/bench/load"
)

// measureProvider puts w on a provider and returns what was measured.
func measureProvider(t *testing.T, w *work) *load.Result {
	t.Helper()
	server := httptest.NewServer(newProvider())
	defer server.Close()
	to := &target{address: strings.TrimPrefix(server.URL, "http://"), key: goodKey(0)}
	status := w.status
	if status == 0 {
		status = 200
	}
	g := load.Start(load.Load{Address: to.address, Request: requests(to, w), Status: status, Connections: 2, Rate: w.rate})
	defer g.Stop()
	return g.Measure(300 * time.Millisecond)
}

func TestEveryModelIsAnsweredAsTheWorkExpects(t *testing.T) {
	for name, w := range map[string]work{
		"plain":     {model: modelCall, prompt: 100},
		"open loop": {model: modelCall, prompt: 100, rate: 100},
		"long":      {model: modelLong, prompt: 100},
		"rotating":  {model: modelRotate, prompt: 100},
		"refused":   {model: modelCall, prompt: 100, key: limitedKey, status: 429},
	} {
		t.Run(name, func(t *testing.T) {
			r := measureProvider(t, &w)
			if r.Calls == 0 || r.Failures > 0 || r.Latency.Quantile(0.5) <= 0 {
				t.Errorf("%d calls, %d failures (%s), median %s", r.Calls, r.Failures, r.Failure, r.Latency.Quantile(0.5))
			}
		})
	}
}

func TestEveryEventOfAStreamTellsWhenItWasSent(t *testing.T) {
	r := measureProvider(t, &work{model: modelShort, stream: true, prompt: 100})
	if r.Calls == 0 || r.Failures > 0 {
		t.Fatalf("%d calls, %d failures (%s)", r.Calls, r.Failures, r.Failure)
	}
	// The events of streams that are still open are counted, their calls not.
	if events := int64(r.Event.Count()); events < 4*r.Calls {
		t.Errorf("%d streams of 4 events had %d stamps", r.Calls, events)
	}
	// An event is on its way for a moment; a stamp that was not filled in would
	// make it half a century.
	if p99 := r.Event.Quantile(0.99); p99 > 10*time.Second {
		t.Errorf("an event took %s", p99)
	}
}

func TestAnUnexpectedAnswerIsAFailure(t *testing.T) {
	r := measureProvider(t, &work{model: modelCall, prompt: 100, key: "unknown"})
	if r.Calls > 0 || r.Failures == 0 || r.Failure != "status 401" {
		t.Errorf("%d calls, %d failures (%s)", r.Calls, r.Failures, r.Failure)
	}
}
