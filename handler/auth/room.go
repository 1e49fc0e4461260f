// SPDX-License-Identifier: Apache-2.0

package auth

import "time"

// sample is how many entries are looked at when one must be forgotten.
const sample = 8

// WithRoom returns a map with room for one entry more: the one given, a new one
// if there is none yet. Where it has as many as it may, it forgets the one of a
// few that is the first by its time.
func WithRoom[K comparable, V any](m map[K]V, most int, at func(V) time.Time) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	if len(m) < most {
		return m
	}
	var oldest K
	var first time.Time
	seen := 0
	// A map's order begins anywhere.
	for key, value := range m {
		if moment := at(value); seen == 0 || moment.Before(first) {
			oldest, first = key, moment
		}
		if seen++; seen == sample {
			break
		}
	}
	delete(m, oldest)
	return m
}
