// SPDX-License-Identifier: Apache-2.0

package admin

import "testing"

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
