// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
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

var app = []*limits.Subject{limits.Client("app", []limits.Rule{{Kind: limits.Requests, Amount: 10, Period: limits.Period{Calendar: limits.Month}}})}

func callOnce(book *limits.Book) {
	h := limits.Begin(book, app, false)
	_, _ = h.Enter(context.Background(), time.Now())
	h.Settle(time.Now(), limits.Amounts{})
}

func left(book *limits.Book) int64 {
	states, _ := limits.States(context.Background(), book, time.Now(), app)
	return states[0].Remaining()
}

func newKeeper() *keeper { return &keeper{book: limits.NewBook()} }

// What was counted is there after a restart, a clean one or none.
func TestLimitsSurviveARestart(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{kept: map[string][]byte{}}
		var first, second, third Handler
		k := newKeeper()
		k.lend(&first, storage)
		callOnce(k.book)
		time.Sleep(keepEvery + time.Millisecond)

		killed := newKeeper()
		killed.lend(&second, storage)
		if n := left(killed.book); n != 9 {
			t.Errorf("after a kill: %d left, want 9", n)
		}
		callOnce(killed.book)
		killed.close()

		ended := newKeeper()
		ended.lend(&third, storage)
		if n := left(ended.book); n != 8 {
			t.Errorf("after an end: %d left, want 8", n)
		}
		before := storage.stored
		time.Sleep(time.Minute)
		if storage.stored != before {
			t.Error("what has not changed is written")
		}
		ended.close()
		k.close()
	})
}

// A storage that is away or slow holds no start up and loses nothing: it is
// not written over before it was read.
func TestStorageAway(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		storage := &fakeStorage{kept: map[string][]byte{}}
		k := newKeeper()
		k.lend(new(Handler), storage)
		callOnce(k.book)
		k.close()

		storage.breakDown(true)
		k = newKeeper()
		begin := time.Now()
		k.lend(new(Handler), storage)
		if waited := time.Since(begin); waited > maxRestoreWait {
			t.Errorf("the start waited %s", waited)
		}
		callOnce(k.book)
		time.Sleep(time.Minute)
		storage.breakDown(false)
		time.Sleep(keepRetry)
		if n := left(k.book); n != 8 {
			t.Errorf("%d left, want 8: one from before and one from the meantime", n)
		}
		storage.breakDown(true)
		callOnce(k.book)
		time.Sleep(time.Minute)
		storage.breakDown(false)
		time.Sleep(keepRetry + keepEvery)
		k.close()

		storage.slow = time.Minute
		k = newKeeper()
		begin = time.Now()
		k.lend(new(Handler), storage)
		if waited := time.Since(begin); waited > maxRestoreWait {
			t.Errorf("the start waited %s", waited)
		}
		time.Sleep(10 * time.Minute)
		if n := left(k.book); n != 7 {
			t.Errorf("%d left, want 7", n)
		}
		k.close()
	})
}

// The storage of the newest config that is alive is used: a refused config
// takes its own away again, and an old one may have ended with its config.
func TestNewestStorageIsUsed(t *testing.T) {
	k := newKeeper()
	old, renewed, refused := new(Handler), new(Handler), new(Handler)
	storages := map[*Handler]*fakeStorage{}
	for _, h := range []*Handler{old, renewed, refused} {
		storages[h] = &fakeStorage{kept: map[string][]byte{}}
		k.storages = append(k.storages, lentStorage{h, storages[h]})
	}
	k.giveBack(refused)
	if k.storage() != storages[renewed] {
		t.Error("after a refused config another's storage is used")
	}
	k.giveBack(old)
	if k.storage() != storages[renewed] {
		t.Error("after the old config's end another's storage is used")
	}
	k.giveBack(renewed)
	if k.storage() != nil {
		t.Error("a storage is used that nobody lends")
	}
}
