// SPDX-License-Identifier: Apache-2.0

package keypool

import (
	"container/heap"
	"math"
)

// turn is where a key stands in its queue.
type turn struct {
	// due is when the key is to be taken, on a clock by which each has a turn
	// every 1/weight.
	due float64
	pos int
}

// queue orders the keys of a tier by their turns. It is a heap.
type queue struct {
	members []*member
	// clock is the turn of the key that was taken last.
	clock float64
}

// mostSkipped is how many keys at the head of a queue may lose their turn
// before the others are searched for the first that is free.
const mostSkipped = 8

// goldenRatio spreads the first turns of keys evenly.
const goldenRatio = 0.6180339887498949

func (q *queue) fill(members []member) {
	for i := range members {
		m := &members[i]
		_, phase := math.Modf(float64(i) * goldenRatio)
		m.turn = turn{due: phase / float64(m.key.Weight), pos: i}
		q.members = append(q.members, m)
	}
	heap.Init(q)
}

// takeTurn moves the clock on to m's turn.
func (q *queue) takeTurn(m *member) {
	q.clock = max(q.clock, m.turn.due)
	q.skipTurn(m)
}

// skipTurn puts m's next turn a round later. A key that rested does not come
// back to turns that it has missed.
func (q *queue) skipTurn(m *member) {
	m.turn.due = max(m.turn.due, q.clock) + 1/float64(m.key.Weight)
	heap.Fix(q, m.turn.pos)
}

// byWeightLocked takes the keys at their turns, at a cost that grows with the
// logarithm of their number; only where most of them rest are all looked at.
func (p *Pool) byWeightLocked(t *tier, c *choice) int {
	q := &t.queue
	for range mostSkipped {
		m := q.members[0]
		if p.may(m.index, c) {
			q.takeTurn(m)
			return m.index
		}
		q.skipTurn(m)
	}
	first := -1
	for i := t.lo; i < t.hi; i++ {
		if (first < 0 || p.members[i].turn.due < p.members[first].turn.due) && p.may(i, c) {
			first = i
		}
	}
	if first >= 0 {
		q.takeTurn(&p.members[first])
	}
	return first
}

func (q *queue) Len() int           { return len(q.members) }
func (q *queue) Less(i, j int) bool { return q.members[i].turn.due < q.members[j].turn.due }
func (q *queue) Swap(i, j int) {
	q.members[i], q.members[j] = q.members[j], q.members[i]
	q.members[i].turn.pos, q.members[j].turn.pos = i, j
}

// Push and Pop are never called: the keys of a queue stay the same.
func (q *queue) Push(any) {}

// Pop is never called.
func (q *queue) Pop() any { return nil }
