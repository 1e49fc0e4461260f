// SPDX-License-Identifier: Apache-2.0

// Package load makes calls and measures how long they take: in a closed loop,
// where each connection sends its next call when the last is answered, or in an
// open loop, where calls start at a given rate however long they take.
package load

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Load says what is sent.
type Load struct {
	// Address is where to, as host:port.
	Address string
	// Request returns the bytes of a call, which are not changed.
	Request func() []byte
	// Status is the status that every answer should have.
	Status int
	// From returns the address to call from, for each connection. Nil leaves
	// it to the system.
	From func() net.IP
	// Connections is how many calls are in flight at most.
	Connections int
	// Rate makes it an open loop: so many calls start per second, at random
	// times, and latency counts from when a call should have started. 0 is a
	// closed loop.
	Rate float64
	// Ramp is the time over which the connections of a closed loop start.
	Ramp time.Duration
}

// Result is what was measured.
type Result struct {
	// Calls that were answered as they should be, and others.
	Calls, Failures int64
	// Failure is the first thing that went wrong.
	Failure string
	// Latency is from the start of a call to its end, FirstToken to its first
	// stamped event, and Event from the stamp of an event to its receipt.
	Latency, FirstToken, Event Histogram
}

// Generator makes the calls of one load until it is stopped.
type Generator struct {
	load      Load
	recording atomic.Pointer[Result]
	mu        sync.Mutex
	open      map[*connection]bool
	idle      []*connection
	stop      chan struct{}
	done      sync.WaitGroup
}

// Start begins to make calls. Stop ends them.
func Start(l Load) *Generator {
	g := &Generator{load: l, open: map[*connection]bool{}, stop: make(chan struct{})}
	if l.Rate > 0 {
		g.done.Go(g.openLoop)
		return g
	}
	for i := range l.Connections {
		start := l.Ramp * time.Duration(i) / time.Duration(l.Connections)
		g.done.Go(func() { g.closedLoop(start) })
	}
	return g
}

// Measure records what happens during d.
func (g *Generator) Measure(d time.Duration) *Result {
	result := new(Result)
	g.recording.Store(result)
	time.Sleep(d)
	g.recording.Store(nil)
	return result
}

// Stop breaks off what is in flight and waits for the end.
func (g *Generator) Stop() {
	close(g.stop)
	g.mu.Lock()
	for c := range g.open {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.done.Wait()
}

func (g *Generator) stopped() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// pause waits for d, or for the end. It reports false at the end.
func (g *Generator) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-g.stop:
		return false
	}
}

func (g *Generator) closedLoop(start time.Duration) {
	if !g.pause(start) {
		return
	}
	for !g.stopped() {
		g.call(time.Now())
	}
}

func (g *Generator) openLoop() {
	free := make(chan struct{}, g.load.Connections)
	gap := float64(time.Second) / g.load.Rate
	for due := time.Now(); g.pause(time.Until(due)); due = due.Add(time.Duration(gap * rand.ExpFloat64())) {
		g.done.Go(func() {
			select {
			case free <- struct{}{}:
				g.call(due)
				<-free
			case <-g.stop:
			}
		})
	}
}

// call makes one call that was due at a time.
func (g *Generator) call(due time.Time) {
	c, err := g.take()
	if err != nil {
		g.count(err)
		g.pause(10 * time.Millisecond)
		return
	}
	first := true
	began := time.Now()
	keep, err := c.call(g.load.Request(), g.load.Status, func(sent, received time.Time) {
		if result := g.recording.Load(); result != nil {
			result.Event.add(received.Sub(sent))
			if first {
				result.FirstToken.add(received.Sub(began))
			}
		}
		first = false
	})
	over := c.at // once it is put back, another call has it
	g.put(c, keep && err == nil)
	if err == nil {
		if result := g.recording.Load(); result != nil {
			result.Latency.add(over.Sub(due))
		}
	}
	g.count(err)
}

// count counts a call. What breaks because the load is stopped is none.
func (g *Generator) count(err error) {
	result := g.recording.Load()
	if result == nil || g.stopped() {
		return
	}
	if err == nil {
		atomic.AddInt64(&result.Calls, 1)
		return
	}
	if atomic.AddInt64(&result.Failures, 1) == 1 {
		result.Failure = err.Error()
	}
}

// take returns an idle connection, or a new one.
func (g *Generator) take() (*connection, error) {
	g.mu.Lock()
	if n := len(g.idle); n > 0 {
		c := g.idle[n-1]
		g.idle = g.idle[:n-1]
		g.mu.Unlock()
		return c, nil
	}
	g.mu.Unlock()
	c, err := dial(g.load.Address, g.load.From)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped() {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	g.open[c] = true
	return c, nil
}

// put takes a connection back, or closes it.
func (g *Generator) put(c *connection, keep bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if keep && !g.stopped() {
		g.idle = append(g.idle, c)
		return
	}
	delete(g.open, c)
	_ = c.Close()
}
