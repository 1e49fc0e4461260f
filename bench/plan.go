// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The targets that the harness starts itself. What is measured is full; what
// it is measured against is bare.
const (
	direct    = "direct"
	nginx     = "nginx"
	bare      = "bare"
	transport = "transport"
	full      = "full"
	// keys1000 and clients100k are full, with more of each.
	keys1000    = "keys_1000"
	clients100k = "clients_100k"
	// rotating is full, with a failing key in front of the good ones.
	rotating = "rotating"
	// limited is full, with limits.
	limited = "limited"
)

// work is one kind of load, done to several targets in turn.
type work struct {
	name, about string
	// targets are those it is done to, given and started ones.
	targets []string
	model   string
	stream  bool
	// prompt is the size of the prompt, in bytes.
	prompt int
	// connections, rate and ramp are as in [load.Load].
	connections int
	rate        float64
	ramp        time.Duration
	// warm is how long it runs before it is measured, and measure how long
	// that takes.
	warm, measure time.Duration
	// status is what calls are to be answered with. Default: 200.
	status int
	// key is sent in place of the target's.
	key string
	// fresh starts the target anew, since its memory is what counts.
	fresh bool
	// flood comes beside the load, and is not measured.
	flood *flood
}

// flood is calls that are more than their limit allows, or just as many.
type flood struct {
	// rate is how many there are per second.
	rate float64
	// addresses is from how many they come.
	addresses int
	// key is whose they are. Default: the target's.
	key string
}

// plan is a set of works, and what follows from them.
type plan struct {
	works    []work
	measures []measure
}

var plans = map[string]func() plan{"budget": budgetPlan, "growth": growthPlan, "flood": floodPlan}

func planNames() []string { return slices.Sorted(maps.Keys(plans)) }

func newPlan(o *options) (*plan, error) {
	fill, ok := plans[o.plan]
	if !ok {
		return nil, fmt.Errorf("-plan: %q is none of %s", o.plan, strings.Join(planNames(), ", "))
	}
	p := fill()
	if o.only != "" {
		names := strings.Split(o.only, ",")
		p.works = slices.DeleteFunc(p.works, func(w work) bool { return !slices.Contains(names, w.name) })
	}
	for i := range p.works {
		w := &p.works[i]
		if o.quick {
			w.shorten()
		}
		for _, t := range o.targets {
			if !w.fresh && w.key == "" && w.model != modelRotate {
				w.targets = append(w.targets, t.name)
			}
		}
	}
	if len(p.works) == 0 {
		return nil, fmt.Errorf("-only: there is no work named %s", o.only)
	}
	return &p, nil
}

func (w *work) shorten() {
	keep := []string{direct, bare, full, rotating, limited}
	w.targets = slices.DeleteFunc(slices.Clone(w.targets), func(name string) bool { return !slices.Contains(keep, name) })
	w.warm = max(w.warm/2, 500*time.Millisecond)
	w.measure = max(w.measure/3, time.Second)
}

// duration is about how long one round takes.
func (p *plan) duration() time.Duration {
	var total time.Duration
	for _, w := range p.works {
		total += time.Duration(len(w.targets)) * (w.ramp + w.warm + w.measure + 200*time.Millisecond)
	}
	return total
}

// budgetPlan is what the project promises.
func budgetPlan() plan {
	most := []string{direct, nginx, bare, transport, full}
	return plan{measures: budget, works: []work{
		{
			name: "call_1k", about: "64 connections, 1 KiB in and out",
			targets: append(slices.Clone(most), keys1000, clients100k),
			model:   modelCall, prompt: 1 << 10, connections: 64, warm: time.Second, measure: 3 * time.Second,
		},
		{
			name: "call_chunked", about: "64 connections, 1 KiB in, 4 KiB out without a Content-Length",
			targets: []string{direct, nginx, bare, full},
			model:   modelLong, prompt: 1 << 10, connections: 64, warm: time.Second, measure: 3 * time.Second,
		},
		{
			name: "call_200k", about: "16 connections, a prompt of 200 KiB",
			targets: most,
			model:   modelCall, prompt: 200 << 10, connections: 16, warm: time.Second, measure: 3 * time.Second,
		},
		{
			name: "call_open", about: "300 calls per second, open loop, 1 KiB in and out",
			targets: []string{direct, nginx, bare, full},
			model:   modelCall, prompt: 1 << 10, connections: 256, rate: 300, warm: time.Second / 2, measure: 3 * time.Second,
		},
		{
			name: "events", about: "200 streams, 100 events each, 20 ms apart",
			targets: most,
			model:   modelStream, stream: true, prompt: 1 << 10, connections: 200, ramp: 2 * time.Second, warm: time.Second / 2, measure: 3 * time.Second,
		},
		{
			name: "first_token", about: "200 streams per second, open loop, 4 events each",
			targets: most,
			model:   modelShort, stream: true, prompt: 1 << 10, connections: 256, rate: 200, warm: time.Second / 2, measure: 3 * time.Second,
		},
		{
			name: "slow_streams", about: "2,000 open streams, an event per second, fresh process",
			targets: []string{nginx, bare, transport, full},
			model:   modelSlow, stream: true, prompt: 1 << 10, connections: 2000, ramp: 2 * time.Second, warm: 2 * time.Second, measure: time.Second, fresh: true,
		},
		{
			name: "alone", about: "one call after the other",
			targets: []string{direct, bare, full},
			model:   modelCall, prompt: 1 << 10, connections: 1, warm: time.Second / 2, measure: 2 * time.Second,
		},
		{
			name: "refused", about: "one call after the other, all answered with 429",
			targets: []string{direct},
			model:   modelCall, prompt: 1 << 10, connections: 1, warm: time.Second / 2, measure: 2 * time.Second, status: 429, key: limitedKey,
		},
		{
			name: "rotation", about: "one call after the other, the first key answers each with 429",
			targets: []string{rotating},
			model:   modelRotate, prompt: 1 << 10, connections: 1, warm: time.Second / 2, measure: 2 * time.Second,
		},
	}}
}

// growthPlan shows how cost grows with the prompt and the number of streams.
func growthPlan() plan {
	var p plan
	for _, size := range []int{1, 4, 16, 64, 256, 1024} {
		p.works = append(p.works, work{
			name: fmt.Sprintf("prompt_%dk", size), about: fmt.Sprintf("16 connections, a prompt of %d KiB", size),
			targets: []string{bare, full},
			model:   modelCall, prompt: size << 10, connections: 16, warm: time.Second, measure: 3 * time.Second,
		})
	}
	for _, streams := range []int{1, 10, 100, 1000, 8000} {
		p.works = append(p.works, work{
			name: fmt.Sprintf("streams_%d", streams), about: fmt.Sprintf("%d open streams, an event per second, fresh process", streams),
			targets: []string{bare, full},
			model:   modelSlow, stream: true, prompt: 1 << 10, connections: streams,
			ramp: 4 * time.Second, warm: 3 * time.Second, measure: 4 * time.Second, fresh: true,
		})
	}
	for _, events := range []string{"10", "100", "1000"} {
		p.works = append(p.works, work{
			name: "events_" + events, about: "16 connections, streams of " + events + " events without a pause",
			targets: []string{bare, full},
			model:   modelBurst + events, stream: true, prompt: 1 << 10, connections: 16, warm: time.Second, measure: 3 * time.Second,
		})
	}
	return p
}
