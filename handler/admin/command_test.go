// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// A key that was never used has neither a rate nor a latency.
func TestMeasuresOfKeys(t *testing.T) {
	for name, test := range map[string]struct {
		health           health
		success, latency string
	}{
		"never used":              {health{SuccessRate: 1}, "-", "-"},
		"the client's fault only": {health{Attempts: 3, SuccessRate: 1}, "-", "-"},
		"failed only":             {health{Attempts: 3, Errors: 3}, "0%", "-"},
		"used":                    {health{Attempts: 4, Successes: 3, Errors: 1, SuccessRate: 0.75, LatencyMS: 2140.26}, "75%", "2.14s"},
	} {
		if success, latency := test.health.measures(); success != test.success || latency != test.latency {
			t.Errorf("%s: got %s %s, want %s %s", name, success, latency, test.success, test.latency)
		}
	}
}

// A key is not called free while its provider is left alone, and the models that
// nobody may ask for there count once.
func TestStateOfKeysOfAProviderAtRest(t *testing.T) {
	now := time.Now()
	soon := now.Add(8 * time.Second)
	away := keypool.CircuitStatus{State: "open", Until: soon, Class: keypool.ClassNotSent}
	o3 := keypool.CircuitStatus{Model: "o3", State: "open", Until: soon, Class: keypool.ClassUpstream}
	o4 := keypool.CircuitStatus{Model: "o4", State: "resting", Until: soon, Class: keypool.ClassOverloaded}
	healing := keypool.CircuitStatus{State: "half-open", Class: keypool.ClassNotSent}
	rejected := keypool.KeyStatus{State: "open", CoolingUntil: now.Add(30 * time.Second), CoolingClass: keypool.ClassCredential}
	limited := keypool.KeyStatus{State: "closed", CoolingModels: map[string]keypool.Rest{"o3": {Until: soon, Class: keypool.ClassRateLimited}}}
	for name, test := range map[string]struct {
		key       keypool.KeyStatus
		circuits  []keypool.CircuitStatus
		want      string
		available bool
	}{
		"nothing wrong":        {keypool.KeyStatus{State: "closed"}, nil, "free", true},
		"provider away":        {keypool.KeyStatus{State: "closed"}, []keypool.CircuitStatus{away}, "provider rests 8s (not_sent)", false},
		"on trial there":       {keypool.KeyStatus{State: "half-open"}, []keypool.CircuitStatus{away}, "provider rests 8s (not_sent)", false},
		"provider may be away": {keypool.KeyStatus{State: "closed"}, []keypool.CircuitStatus{healing}, "free", true},
		"rejected, too":        {rejected, []keypool.CircuitStatus{away}, "rests 30s (credential)", false},
		"disabled, too":        {keypool.KeyStatus{State: "disabled"}, []keypool.CircuitStatus{away}, "disabled", false},
		"models away":          {keypool.KeyStatus{State: "closed"}, []keypool.CircuitStatus{o3, o4}, "free (models at rest: 2)", true},
		"a model of both":      {limited, []keypool.CircuitStatus{o3}, "free (models at rest: 1)", true},
	} {
		k := keyOf(test.key, keypool.UpstreamStatus{Circuits: test.circuits})
		if got := k.why(now); got != test.want || k.Available != test.available {
			t.Errorf("%s: got %q, available %t, want %q", name, got, k.Available, test.want)
		}
	}
}
