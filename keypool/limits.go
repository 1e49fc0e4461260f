// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"sync/atomic"
	"time"
)

// Rate is so many of something in a window of time, refilled evenly. The zero
// value is no limit.
type Rate struct {
	// N is how many; 0 is any number.
	N int
	// Per is the window. Default: 1 minute.
	Per time.Duration
}

// busyPause is when a key whose calls are all in flight is worth another look.
const busyPause = 100 * time.Millisecond

// meter counts what was taken of a [Rate]: it holds the time, in nanoseconds
// since 1970, at which all of it is refilled. The zero value is a full one.
type meter struct {
	full atomic.Int64
	// taken is what was taken here, of all that was.
	taken atomic.Int64
}

// until returns when n may be taken of r. More than the whole window is asked
// for as if it were the whole, or it could never be had.
func (m *meter) until(r Rate, n int) time.Time {
	if r.N == 0 {
		return time.Time{}
	}
	return time.Unix(0, m.full.Load()).Add(r.time(min(n, r.N)) - r.Per)
}

// take takes n, or gives some back where n is negative. The caller holds the
// state's lock.
func (m *meter) take(r Rate, n int, now time.Time) {
	if r.N == 0 || n == 0 {
		return
	}
	full := max(m.full.Load(), now.UnixNano())
	m.full.Store(full + int64(r.time(n)))
	m.taken.Add(int64(n))
}

// hear counts what was taken elsewhere at that time, at most a whole window.
func (m *meter) hear(r Rate, n int64, at, now time.Time) {
	if r.N == 0 || n == 0 {
		return
	}
	n = min(max(n, -int64(r.N)), int64(r.N))
	full := max(m.full.Load(), at.UnixNano()) + int64(r.time(int(n)))
	m.level(r, time.Unix(0, full), now)
	if n < 0 {
		m.full.Store(full)
	}
}

// level notes that all of r is there again not before full, but never believes
// that it takes longer than two windows.
func (m *meter) level(r Rate, full, now time.Time) {
	if latest := now.Add(2 * r.Per); full.After(latest) {
		full = latest
	}
	if r.N != 0 && full.UnixNano() > m.full.Load() {
		m.full.Store(full.UnixNano())
	}
}

// share returns how much of r is left, from 0 to 1.
func (m *meter) share(r Rate, now time.Time) float64 {
	if r.N == 0 {
		return 1
	}
	return min(1, 1-float64(m.full.Load()-now.UnixNano())/float64(r.Per))
}

// time is how long n of r take to refill.
func (r Rate) time(n int) time.Duration {
	return time.Duration(float64(n) / float64(r.N) * float64(r.Per))
}

// serves reports whether the key could ever be used for what is wanted.
func (m *member) serves(c *choice) bool {
	if m.key.Tier < c.want.Tier {
		return false
	}
	if !m.bounded {
		return true
	}
	if !m.key.Expires.IsZero() && !c.now.Before(m.key.Expires) {
		return false
	}
	if len(m.key.Models) == 0 || c.model == "" {
		return true
	}
	for _, pattern := range m.key.Models {
		if Matches(pattern, c.model) {
			return true
		}
	}
	return false
}

// due returns when the key's own limits let it be used; the past if they do.
func (m *member) due(tokens int, now time.Time) time.Time {
	if !m.bounded {
		return time.Time{}
	}
	at := m.state.requests.until(m.key.Requests, 1)
	if refilled := m.state.tokens.until(m.key.Tokens, tokens); refilled.After(at) {
		at = refilled
	}
	if m.key.MaxInFlight > 0 && int(m.state.inFlight.Load()) >= m.key.MaxInFlight {
		if busy := now.Add(busyPause); busy.After(at) {
			at = busy
		}
	}
	return at
}

// free reports whether the key may be used now.
func (m *member) free(c *choice) bool {
	return m.state.free(c.model, c.now) && (!m.bounded || m.serves(c) && !c.now.Before(m.due(c.want.Tokens, c.now)))
}
