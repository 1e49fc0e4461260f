// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
)

// measure is one figure that the project is judged by.
type measure struct {
	name, unit string
	// ours and base are the figure and what it is compared with, in one round.
	ours, base func(s samples, round int) float64
}

// of reads a value as it stands.
func of(work, target, name string) func(samples, int) float64 {
	return func(s samples, round int) float64 { return s.value(round, work, target, name) }
}

// compare makes a measure of what full and bare do in the same work.
func compare(name, unit, work, value string) measure {
	return measure{name, unit, of(work, full, value), of(work, bare, value)}
}

// against makes a measure of a larger variant of full.
func against(name, target string) measure {
	return measure{name, "µs", of("call_1k", target, cpuCall), of("call_1k", full, cpuCall)}
}

// budget are the measures that the project promises.
var budget = []measure{
	compare("cpu_call_1k", "µs", "call_1k", cpuCall),
	compare("cpu_call_200k", "µs", "call_200k", cpuCall),
	compare("cpu_call_chunked", "µs", "call_chunked", cpuCall),
	compare("cpu_event", "µs", "events", cpuEvent),
	compare("ttft_p50", "µs", "first_token", firstP50),
	compare("ttft_p99", "µs", "first_token", firstP99),
	compare("event_p50", "µs", "events", eventP50),
	compare("event_p99", "µs", "events", eventP99),
	compare("mem_stream", "KB", "slow_streams", memoryStream),
	{"rotation", "µs", rotation, unknown},
	against(keys1000, keys1000),
	against(clients100k, clients100k),
}

// rotation is what it takes to get past one failing key: how much longer a
// call takes, without what the provider itself takes to refuse it.
func rotation(s samples, round int) float64 {
	return s.value(round, "rotation", rotating, latencyP50) -
		s.value(round, "alone", full, latencyP50) -
		s.value(round, "refused", direct, latencyP50)
}

// unknown is the figure of those that cannot do it at all.
func unknown(samples, int) float64 { return math.NaN() }

// outcome is a measure over all rounds: medians, the ratio's that of each
// round, so that what drifts between rounds cancels out. What is not known is
// NaN.
type outcome struct {
	measure
	ours, base, ratio float64
	// spread is half the distance from the least to the largest ratio; of the
	// figure where there is no ratio.
	spread float64
}

// settle computes m over the rounds.
func (m measure) settle(s samples, rounds int) outcome {
	var ours, base, ratios []float64
	for round := range rounds {
		a, b := m.ours(s, round), m.base(s, round)
		ours, base, ratios = append(ours, a), append(base, b), append(ratios, a/b)
	}
	o := outcome{measure: m, ours: median(ours), base: median(base), ratio: median(ratios), spread: spread(ratios)}
	if math.IsNaN(o.ratio) {
		o.spread = spread(ours)
	}
	return o
}

// median is that of the values that are known.
func median(values []float64) float64 {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(known)
	n := len(known)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return known[n/2]
	default:
		return (known[n/2-1] + known[n/2]) / 2
	}
}

func spread(values []float64) float64 {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(known) == 0 {
		return math.NaN()
	}
	return (slices.Max(known) - slices.Min(known)) / 2
}
