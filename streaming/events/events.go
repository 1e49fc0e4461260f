// SPDX-License-Identifier: Apache-2.0

// Package events hands what operators should hear of to Caddy's events app.
// Whoever has subscribed there may run a command or call a web hook, which
// takes its time: so events go through a queue, and calls never wait for it.
package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// queueLength is how many events may wait for their handlers.
const queueLength = 256

// dropped counts the events of this process that nobody was told of.
var dropped atomic.Uint64

// Dropped returns how many events were given up since the process began:
// because too many were waiting, or their config has ended.
func Dropped() uint64 { return dropped.Load() }

// Emitter hands on the events of one module. Its methods may be called on nil,
// and do nothing then.
type Emitter struct {
	app   *caddyevents.App
	ctx   caddy.Context
	queue chan event
	// stop ends the emitter.
	stop    chan struct{}
	closing sync.Once
	started func()
}

type event struct {
	name string
	data map[string]any
}

// New returns an emitter for the module that ctx is of; nil outside of a
// server, where there are no events. started, if not nil, is called when the
// config of the module comes into force: not for one that is only validated,
// or refused. From then on events are handed on. The emitter must be closed.
func New(ctx caddy.Context, started func()) (*Emitter, error) {
	module, err := ctx.AppIfConfigured("events")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil
	}
	app, ok := module.(*caddyevents.App)
	if err != nil || !ok {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	e := &Emitter{app: app, ctx: ctx, queue: make(chan event, queueLength), stop: make(chan struct{}), started: started}
	if err := app.On("started", e); err != nil {
		return nil, fmt.Errorf("waiting for the config to start: %w", err)
	}
	return e, nil
}

// Handle hears that the config has come into force.
func (e *Emitter) Handle(context.Context, caddy.Event) error {
	go e.run()
	if e.started != nil {
		e.started()
	}
	return nil
}

// run hands events on, one after the other.
func (e *Emitter) run() {
	for {
		select {
		case <-e.stop:
			dropped.Add(uint64(len(e.queue)))
			return
		case next := <-e.queue:
			e.app.Emit(e.ctx, next.name, next.data)
		}
	}
}

// Emit hands an event on, if there is room in the queue. It does not wait. The
// data must not be changed any more.
func (e *Emitter) Emit(name string, data map[string]any) {
	if e == nil {
		return
	}
	select {
	case <-e.stop:
		dropped.Add(1)
		return
	default:
	}
	select {
	case e.queue <- event{name, data}:
	default:
		dropped.Add(1)
	}
}

// Close ends the emitter. Its config is over, and what still waits in the queue
// is given up. To close it again does nothing.
func (e *Emitter) Close() {
	if e != nil {
		e.closing.Do(func() { close(e.stop) })
	}
}

// Interface guard
var _ caddyevents.Handler = (*Emitter)(nil)
