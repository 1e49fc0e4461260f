// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// fakeStorage keeps what is stored, and fails or hangs when it is told to.
type fakeStorage struct {
	certmagic.Storage
	mu     sync.Mutex
	kept   map[string][]byte
	broken bool
	slow   time.Duration
	stored int
}

func (s *fakeStorage) Store(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("away")
	}
	s.kept[key] = value
	s.stored++
	return nil
}

func (s *fakeStorage) Load(_ context.Context, key string) ([]byte, error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return nil, errors.New("away")
	}
	if text, ok := s.kept[key]; ok {
		return text, nil
	}
	return nil, fs.ErrNotExist
}

func (s *fakeStorage) breakDown(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// counter is a book with one number in each group.
type counter struct {
	mu      sync.Mutex
	counts  [33]int
	changed [33]bool
}

func (c *counter) add(group int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[group]++
	c.changed[group] = true
}

func (c *counter) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[0] + c.counts[1]
}

func (c *counter) Snapshot(_ time.Time, group int) ([]byte, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.changed[group]
	c.changed[group] = false
	return []byte(fmt.Sprintf("%d %d", group, c.counts[group])), changed, nil
}

func (c *counter) Changed(group int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed[group] = true
}

func (c *counter) Restore(_ time.Time, text []byte) error {
	var group, n int
	if _, err := fmt.Sscanf(string(text), "%d %d", &group, &n); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[group] += n
	return nil
}

func newKeeper() (*Keeper, *counter) {
	c := new(counter)
	return &Keeper{Book: c, Groups: 2, Folder: "counts", What: "counts", Logger: "test", Every: time.Second}, c
}

// lender lends a storage.
type lender struct{ _ int }

// What was counted is there after a restart, a clean one or none.
func TestBookSurvivesARestart(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{kept: map[string][]byte{}}
		k, book := newKeeper()
		Await(k.Lend(new(lender), storage))
		book.add(0)
		time.Sleep(k.Every + time.Millisecond)

		killed, book := newKeeper()
		Await(killed.Lend(new(lender), storage))
		if n := book.total(); n != 1 {
			t.Errorf("after a kill: %d, want 1", n)
		}
		book.add(1)
		killed.Close()

		ended, book := newKeeper()
		Await(ended.Lend(new(lender), storage))
		if n := book.total(); n != 2 {
			t.Errorf("after an end: %d, want 2", n)
		}
		before := storage.stored
		time.Sleep(time.Minute)
		if storage.stored != before {
			t.Error("what has not changed is written")
		}
		ended.Close()
		k.Close()
	})
}

// A storage that is away or slow holds no start up and loses nothing: it is
// not written over before it was read.
func TestStorageAway(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{kept: map[string][]byte{}}
		k, book := newKeeper()
		Await(k.Lend(new(lender), storage))
		book.add(0)
		k.Close()

		storage.breakDown(true)
		k, book = newKeeper()
		begin := time.Now()
		Await(k.Lend(new(lender), storage))
		if waited := time.Since(begin); waited > maxRestoreWait {
			t.Errorf("the start waited %s", waited)
		}
		book.add(0)
		time.Sleep(time.Minute)
		storage.breakDown(false)
		time.Sleep(again)
		if n := book.total(); n != 2 {
			t.Errorf("%d, want 2: one from before and one from the meantime", n)
		}
		storage.breakDown(true)
		book.add(1)
		time.Sleep(time.Minute)
		storage.breakDown(false)
		time.Sleep(again + k.Every)
		k.Close()

		storage.slow = time.Minute
		k, book = newKeeper()
		begin = time.Now()
		Await(k.Lend(new(lender), storage))
		if waited := time.Since(begin); waited > maxRestoreWait {
			t.Errorf("the start waited %s", waited)
		}
		time.Sleep(10 * time.Minute)
		if n := book.total(); n != 3 {
			t.Errorf("%d, want 3", n)
		}
		k.Close()
	})
}

// The storage of the newest config that is alive is used: a refused config
// takes its own away again, and an old one may have ended with its config.
func TestNewestStorageIsUsed(t *testing.T) {
	k, _ := newKeeper()
	old, renewed, refused := new(lender), new(lender), new(lender)
	storages := map[*lender]*fakeStorage{}
	for _, h := range []*lender{old, renewed, refused} {
		storages[h] = &fakeStorage{kept: map[string][]byte{}}
		k.storages.Lend(h, storages[h])
	}
	k.GiveBack(refused)
	if k.storages.Newest() != storages[renewed] {
		t.Error("after a refused config another's storage is used")
	}
	k.GiveBack(old)
	if k.storages.Newest() != storages[renewed] {
		t.Error("after the old config's end another's storage is used")
	}
	k.GiveBack(renewed)
	if k.storages.Newest() != nil {
		t.Error("a storage is used that nobody lends")
	}
}

// Many books in a storage that hangs hold the start up once, not each in turn.
func TestStartWaitsOnceForAll(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{kept: map[string][]byte{}, slow: time.Minute}
		begin := time.Now()
		var keepers []*Keeper
		var all []Restored
		for range 5 {
			k, _ := newKeeper()
			keepers, all = append(keepers, k), append(all, k.Lend(new(lender), storage))
		}
		Await(all...)
		if waited := time.Since(begin); waited != maxRestoreWait {
			t.Errorf("the start waited %s, want %s", waited, maxRestoreWait)
		}
		for _, k := range keepers {
			k.Close()
		}
	})
}

// A book of many groups is read in a few trips to the storage.
func TestGroupsAreReadTogether(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		k, _ := newKeeper()
		k.Groups = 33
		begin := time.Now()
		Await(k.Lend(new(lender), &fakeStorage{kept: map[string][]byte{}, slow: 50 * time.Millisecond}))
		if waited := time.Since(begin); waited > 300*time.Millisecond {
			t.Errorf("reading 33 groups at 50ms took %s", waited)
		}
		k.Close()
	})
}
