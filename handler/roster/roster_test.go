// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

// admitting is a member that takes all clients but those whose text says "bad".
type admitting struct {
	mu    sync.Mutex
	texts map[string]string
	idle  bool
}

func (m *admitting) Take(changes []Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.texts == nil {
		m.texts = map[string]string{}
	}
	for _, change := range changes {
		if m.texts[change.ID] = string(change.Text); change.Text == nil {
			delete(m.texts, change.ID)
		}
	}
}

func (m *admitting) Check(_ string, text []byte) error {
	if strings.Contains(string(text), "bad") {
		return errors.New("a bad one")
	}
	return nil
}

func (*admitting) Trouble(string) string { return "" }
func (m *admitting) InForce() bool       { return !m.idle }

func (m *admitting) known() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.texts)
}

// instance is a roster with one member, as an instance of Caddy has it. It is
// read when it is told to.
type instance struct {
	*Roster
	*admitting
}

func newInstance(b backend) instance {
	i := instance{newRoster("test", b, time.Hour), new(admitting)}
	i.Join(i.admitting, i.Take)
	return i
}

func (i instance) put(t testing.TB, id, text string) {
	t.Helper()
	if err := i.Change(context.Background(), id, func([]byte) ([]byte, error) {
		if text == "" {
			return nil, nil
		}
		return []byte(text), nil
	}); err != nil {
		t.Fatal(err)
	}
}

// reads checks that an instance knows what it should once it has read the
// store.
func (i instance) reads(t testing.TB, want map[string]string) {
	t.Helper()
	if err := i.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	i.knows(t, want)
}

func (i instance) knows(t testing.TB, want map[string]string) {
	t.Helper()
	if got := i.known(); !maps.Equal(got, want) {
		t.Fatalf("knows %v, want %v", got, want)
	}
	if got := i.Texts(); len(got) != len(want) {
		t.Fatalf("remembers %d clients, want %d", len(got), len(want))
	}
}

// stores make backends that share what they keep.
func stores(t *testing.T) map[string]func() backend {
	server := redistest.Start(t)
	dir := t.TempDir()
	return map[string]func() backend{
		"storage": func() backend { return inFolder(dir) },
		"redis":   func() backend { return inRedis(t, server, "test") },
	}
}

func inFolder(dir string) *storage {
	storages := new(keep.Storages)
	storages.Lend(dir, &certmagic.FileStorage{Path: dir})
	return &storage{storages: storages}
}

func inRedis(t testing.TB, server *redistest.Server, prefix string) *shared {
	t.Helper()
	s, err := store.Open(store.Options{Addresses: []string{server.Address}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Release() })
	return &shared{store: s}
}

// Whatever two instances do, each knows all of it as soon as it has read the
// store, and so does one that comes later.
func TestInstancesKnowTheSame(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			instances := []instance{newInstance(open()), newInstance(open())}
			want := map[string]string{}
			for round := range 60 {
				for range random.IntN(6) {
					id := fmt.Sprint("client-", random.IntN(20))
					text := fmt.Sprintf(`{"round":%d}`, round)
					if _, known := want[id]; known && random.IntN(3) == 0 {
						text = ""
					}
					if want[id] = text; text == "" {
						delete(want, id)
					}
					instances[random.IntN(2)].put(t, id, text)
				}
				switch random.IntN(10) {
				case 0:
					instances[1].anew()
				case 1:
					newInstance(open()).reads(t, want)
				}
				for _, i := range instances {
					i.reads(t, want)
				}
			}
		})
	}
}

// Who writes at the same time as others loses nothing of theirs.
func TestConcurrentChangesAddUp(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) {
			const writers, each = 3, 6
			var wg sync.WaitGroup
			for range writers {
				i := newInstance(open())
				wg.Go(func() {
					for range each {
						err := i.Change(context.Background(), "count", func(before []byte) ([]byte, error) {
							n, _ := strconv.Atoi(string(before))
							return []byte(strconv.Itoa(n + 1)), nil
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			newInstance(open()).reads(t, map[string]string{"count": strconv.Itoa(writers * each)})
		})
	}
}

// A store that has lost everything gets it back from whoever knows it, but not
// from a config that is not in force; what is added meanwhile is there, too.
func TestLostClientsComeBack(t *testing.T) {
	server := redistest.Start(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		open func() backend
		lose func()
	}{
		"storage": {func() backend { return inFolder(dir) }, func() {
			if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
				t.Fatal(err)
			}
		}},
		"redis": {func() backend { return inRedis(t, server, "test") }, server.Restart},
	} {
		t.Run(name, func(t *testing.T) {
			a, idle := newInstance(test.open()), newInstance(test.open())
			want := map[string]string{}
			for n := range 1200 {
				id := fmt.Sprint("client-", n)
				want[id] = `{}`
				if n < 20 {
					a.put(t, id, want[id])
				}
			}
			maps.DeleteFunc(want, func(id, _ string) bool { return a.Text(id) == nil })
			idle.idle = true
			idle.reads(t, want)

			test.lose()
			await(t, func() error { return ignore(idle.Sync(t.Context()), errLost) })
			if err := idle.Sync(t.Context()); !errors.Is(err, errLost) || idle.Fresh() {
				t.Errorf("a config that is not in force: %v", err)
			}
			idle.knows(t, want)
			newInstance(test.open()).reads(t, nil)

			await(t, func() error { return a.Sync(t.Context()) })
			a.reads(t, want)
			idle.reads(t, want)
			newInstance(test.open()).reads(t, want)

			test.lose()
			want["new"] = `{"n":1}`
			await(t, func() error {
				return a.Change(t.Context(), "new", func([]byte) ([]byte, error) { return []byte(want["new"]), nil })
			})
			newInstance(test.open()).reads(t, want)
		})
	}
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// await tries something until it succeeds: connections may have to be made
// again.
func await(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// What a handler in force would not take is not written.
func TestRefusedClientsAreNotWritten(t *testing.T) {
	i := newInstance(inFolder(t.TempDir()))
	for _, text := range []string{`"bad"`, `"` + strings.Repeat("x", MaxEntry) + `"`} {
		var refused RefusedError
		err := i.Change(t.Context(), "one", func([]byte) ([]byte, error) { return []byte(text), nil })
		if !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	}
	mine := errors.New("mine")
	if err := i.Change(t.Context(), "one", func([]byte) ([]byte, error) { return nil, mine }); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	i.reads(t, nil)
}
