// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// subscriber passes on the names and data of the events that it is told of.
// While it is held it lets none through.
type subscriber struct {
	heard chan string
	held  chan struct{}
}

func (s *subscriber) Handle(_ context.Context, e caddy.Event) error {
	s.heard <- fmt.Sprint(e.Name(), " ", e.Data["n"])
	if s.held != nil {
		<-s.held
	}
	return nil
}

// newServer returns a config's context and its events app, to which a
// subscriber listens. The config has not started yet.
func newServer(t *testing.T, s *subscriber) (caddy.Context, *caddyevents.App) {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	module, err := ctx.App("events")
	if err != nil {
		t.Fatal(err)
	}
	app := module.(*caddyevents.App)
	if err := app.On("llm_test", s); err != nil {
		t.Fatal(err)
	}
	return ctx, app
}

func await(t *testing.T, heard chan string, want string) {
	t.Helper()
	select {
	case got := <-heard:
		if got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%q was not heard", want)
	}
}

// Events wait until the config is in force, and then reach those who have
// subscribed.
func TestEventsAreHandedOnOnceTheConfigIsInForce(t *testing.T) {
	s := &subscriber{heard: make(chan string, 10)}
	ctx, app := newServer(t, s)
	var started atomic.Bool
	e, err := New(ctx, func() { started.Store(true) })
	if err != nil {
		t.Fatal(err)
	}
	e.Emit("llm_test", map[string]any{"n": 1})
	if len(s.heard) > 0 || started.Load() {
		t.Error("an event of a config that may be refused was handed on")
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	app.Emit(ctx, "started", nil)
	if !started.Load() {
		t.Error("nobody was told that the config is in force")
	}
	e.Emit("llm_test", map[string]any{"n": 2})
	await(t, s.heard, "llm_test 1")
	await(t, s.heard, "llm_test 2")

	before := Dropped()
	e.Close()
	e.Emit("llm_test", map[string]any{"n": 3})
	if Dropped() != before+1 {
		t.Error("an event after the end was not counted as dropped")
	}
}

// A subscriber that takes its time holds nobody up: what does not fit into the
// queue is dropped, and counted.
func TestSlowSubscriberHoldsNobodyUp(t *testing.T) {
	s := &subscriber{heard: make(chan string, 2*queueLength), held: make(chan struct{})}
	ctx, app := newServer(t, s)
	e, err := New(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	app.Emit(ctx, "started", nil)
	e.Emit("llm_test", map[string]any{"n": 0})
	await(t, s.heard, "llm_test 0") // it is being handled, and does not end

	before := Dropped()
	for i := range queueLength + 10 {
		e.Emit("llm_test", map[string]any{"n": i + 1})
	}
	if n := Dropped() - before; n != 10 {
		t.Errorf("%d events were dropped, want 10", n)
	}
	close(s.held)
	for i := range queueLength {
		await(t, s.heard, fmt.Sprint("llm_test ", i+1))
	}
	e.Close()
}

// Outside of a server there are no events, and nothing happens.
func TestNoServer(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	e, err := New(ctx, nil)
	if e != nil || err != nil {
		t.Fatalf("got %v, %v", e, err)
	}
	e.Emit("llm_test", nil)
	e.Close()
}

// The module that an event comes from is the one that emits it.
func TestEventsNameTheirModule(t *testing.T) {
	s := &subscriber{heard: make(chan string, 10)}
	ctx, app := newServer(t, s)
	origin := make(chan string, 1)
	if err := app.On("llm_test", handlerFunc(func(e caddy.Event) { origin <- e.Origin().CaddyModule().String() })); err != nil {
		t.Fatal(err)
	}
	loaded, err := ctx.LoadModuleByID("events_test", nil)
	if err != nil {
		t.Fatal(err)
	}
	module := loaded.(*emitting)
	defer module.emitter.Close()
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	app.Emit(ctx, "started", nil)
	module.emitter.Emit("llm_test", map[string]any{"n": 1})
	await(t, origin, "events_test")
}

type handlerFunc func(caddy.Event)

func (f handlerFunc) Handle(_ context.Context, e caddy.Event) error {
	f(e)
	return nil
}

// emitting is a module with an emitter.
type emitting struct{ emitter *Emitter }

func init() { caddy.RegisterModule(new(emitting)) }

func (*emitting) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events_test", New: func() caddy.Module { return new(emitting) }}
}

func (m *emitting) Provision(ctx caddy.Context) (err error) {
	m.emitter, err = New(ctx, nil)
	return err
}
