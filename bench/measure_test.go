// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strings"
	"testing"
)

func TestRatioIsTheMedianOfTheRoundsRatios(t *testing.T) {
	var s samples
	// The machine is twice as slow in the second round, for both.
	for round, figures := range [][2]float64{{90, 100}, {180, 200}, {110, 100}} {
		s = append(s,
			sample{Work: "call_1k", Target: full, Round: round, Values: map[string]float64{cpuCall: figures[0]}},
			sample{Work: "call_1k", Target: bare, Round: round, Values: map[string]float64{cpuCall: figures[1]}})
	}
	o := compare("cpu_call_1k", "µs", "call_1k", cpuCall).settle(s, 3)
	if o.ours != 110 || o.base != 100 || o.ratio != 0.9 || math.Abs(o.spread-0.1) > 1e-9 {
		t.Errorf("ours %g, base %g, ratio %g, spread %g", o.ours, o.base, o.ratio, o.spread)
	}
}

func TestRotationLeavesOutTheProvidersOwnTime(t *testing.T) {
	at := func(work, target string, p50 float64) sample {
		return sample{Work: work, Target: target, Values: map[string]float64{latencyP50: p50}}
	}
	s := samples{at("rotation", rotating, 500), at("alone", full, 300), at("refused", direct, 50)}
	if got := rotation(s, 0); got != 150 {
		t.Errorf("rotation takes %g", got)
	}
	var text strings.Builder
	writeSummary(&text, []outcome{measure{"rotation", "µs", rotation, unknown}.settle(s, 1)})
	if !strings.HasSuffix(text.String(), "\nrotation 150 - -\n") {
		t.Errorf("the report ends with %q", text.String())
	}
}

func TestAMissingTargetIsADashInTheTable(t *testing.T) {
	s := samples{{Work: "call_1k", Target: nginx, Failure: "nginx is not installed", Values: map[string]float64{}}}
	s = append(s, sample{Work: "call_1k", Target: bare, Values: map[string]float64{cpuCall: 100}})
	var text strings.Builder
	writeTable(&text, s, &work{name: "call_1k", targets: []string{nginx, bare}})
	if !strings.Contains(text.String(), "nginx         -  nginx is not installed") {
		t.Errorf("the table is\n%s", text.String())
	}
}
