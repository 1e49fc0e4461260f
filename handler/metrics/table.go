// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// table holds what was made for each key when it first came. To find it takes
// no lock; to add to it is rare and copies the table.
type table[K comparable, V any] struct {
	rows atomic.Pointer[map[K]V]
	mu   sync.Mutex
}

// find returns what there is for a key.
func (t *table[K, V]) find(key K) (V, bool) {
	var none V
	rows := t.rows.Load()
	if rows == nil {
		return none, false
	}
	row, ok := (*rows)[key]
	return row, ok
}

// add makes something for a key, unless there is something already. It reports
// false if there is not, and the table has so many rows that it must not grow.
func (t *table[K, V]) add(key K, most int, fresh func() V) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if row, ok := t.find(key); ok {
		return row, true
	}
	rows := map[K]V{}
	if old := t.rows.Load(); old != nil {
		if len(*old) >= most {
			var none V
			return none, false
		}
		rows = maps.Clone(*old)
	}
	rows[key] = fresh()
	t.rows.Store(&rows)
	return rows[key], true
}

// room tells whether a table may have one row more.
func (t *table[K, V]) room(most int) bool {
	rows := t.rows.Load()
	return rows == nil && most > 0 || rows != nil && len(*rows) < most
}

// choose returns what there is for a key. It is made when the key first comes
// if there is room; else the key counts among the others. own returns a key that
// holds nothing else in memory. Where there is no room, no lock is taken either.
func (t *table[K, V]) choose(key K, most int, others K, own func(K) K, fresh func(K) V) V {
	if row, ok := t.find(key); ok {
		return row
	}
	if t.room(most) {
		key = own(key)
		if row, ok := t.add(key, most, func() V { return fresh(key) }); ok {
			return row
		}
	}
	if row, ok := t.find(others); ok {
		return row
	}
	row, _ := t.add(others, unlimited, func() V { return fresh(others) })
	return row
}

// child is one series of a metric, made when it is first needed: what never
// happens has none.
type child[T any] struct{ made atomic.Pointer[T] }

// get returns the series. Several may make it at once, as they make the same.
func (c *child[T]) get(fresh func() T) T {
	if made := c.made.Load(); made != nil {
		return *made
	}
	series := fresh()
	c.made.Store(&series)
	return series
}
