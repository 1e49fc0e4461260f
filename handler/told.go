// SPDX-License-Identifier: Apache-2.0

package handler

import "sync"

// maxTold bounds how many things are said once.
const maxTold = 100

// told remembers what has been said in the log.
type told struct {
	mu   sync.Mutex
	what map[string]struct{}
}

// first tells whether something is to be said for the first time. When so much
// has been said, nothing more is.
func (t *told) first(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, before := t.what[what]; before || len(t.what) >= maxTold {
		return false
	}
	if t.what == nil {
		t.what = map[string]struct{}{}
	}
	t.what[what] = struct{}{}
	return true
}
