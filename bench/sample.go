// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"net/http"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/bench/load"
	"github.com/seed83435595/caddy-llm-proxy/bench/proc"
)

// sample is what one target did in one work of one round.
type sample struct {
	Work     string `json:"work"`
	Target   string `json:"target"`
	Round    int    `json:"round"`
	Calls    int64  `json:"calls"`
	Failures int64  `json:"failures"`
	// Failure is the first thing that went wrong.
	Failure string `json:"failure,omitempty"`
	// Values are those that are known, by their names. Times are in
	// microseconds.
	Values map[string]float64 `json:"values"`
}

// The names of values.
const (
	callsPerSecond = "calls/s"
	cpuCall        = "cpu/call"
	cpuEvent       = "cpu/event"
	latencyP50     = "p50"
	latencyP99     = "p99"
	firstP50       = "first p50"
	firstP99       = "first p99"
	eventP50       = "event p50"
	eventP99       = "event p99"
	memoryStream   = "KB/stream"
	// refusedPerSecond is how many calls of a flood were refused.
	refusedPerSecond = "refused/s"
)

// columns is the order in which values are shown.
var columns = []string{callsPerSecond, cpuCall, cpuEvent, latencyP50, latencyP99, firstP50, firstP99, eventP50, eventP99, memoryStream, refusedPerSecond}

// samples are those of a run.
type samples []sample

// value returns a value of one round; NaN if it is not known.
func (s samples) value(round int, work, target, name string) float64 {
	for _, one := range s {
		if one.Round == round && one.Work == work && one.Target == target {
			if v, ok := one.Values[name]; ok {
				return v
			}
		}
	}
	return math.NaN()
}

// all returns a value of every round in which it is known.
func (s samples) all(work, target, name string) []float64 {
	var values []float64
	for _, one := range s {
		if v, ok := one.Values[name]; ok && one.Work == work && one.Target == target {
			values = append(values, v)
		}
	}
	return values
}

// drive puts the load on t and writes down what follows.
func drive(t *target, w *work, s *sample) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	idle, _ := proc.Memory(t.pid)
	g := load.Start(load.Load{
		Address: t.address, Request: requests(t, w), Status: status,
		Connections: w.connections, Rate: w.rate, Ramp: w.ramp,
	})
	endFlood := w.startFlood(t)
	time.Sleep(w.ramp + w.warm)
	before, _ := proc.CPU(t.pid)
	began := time.Now()
	result := g.Measure(w.measure)
	after, known := proc.CPU(t.pid)
	seconds := time.Since(began).Seconds()
	full, _ := proc.Memory(t.pid)
	g.Stop()
	if refused := endFlood(); w.flood != nil {
		s.Values[refusedPerSecond] = refused
	}

	s.Calls, s.Failures, s.Failure = result.Calls, result.Failures, result.Failure
	events := float64(result.Event.Count())
	if w.fresh {
		s.set(memoryStream, float64(full-idle)/1000, float64(w.connections))
	}
	s.set(callsPerSecond, float64(result.Calls), seconds)
	if known && w.rate == 0 && !w.fresh {
		used := microseconds(after - before)
		s.set(cpuCall, used, float64(result.Calls))
		s.set(cpuEvent, used, events)
	}
	s.setQuantiles(&result.Latency, latencyP50, latencyP99)
	s.setQuantiles(&result.FirstToken, firstP50, firstP99)
	s.setQuantiles(&result.Event, eventP50, eventP99)
}

// set notes a value as a share of something that there was.
func (s *sample) set(name string, total, of float64) {
	if of > 0 {
		s.Values[name] = total / of
	}
}

func (s *sample) setQuantiles(h *load.Histogram, p50, p99 string) {
	if h.Count() > 0 {
		s.Values[p50], s.Values[p99] = microseconds(h.Quantile(0.5)), microseconds(h.Quantile(0.99))
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
