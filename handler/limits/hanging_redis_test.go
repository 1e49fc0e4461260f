// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// valve stands between a client and a server. While it is shut, bytes stay in
// it and connections stay open: neither side can tell what is wrong.
type valve struct {
	address string
	mu      sync.RWMutex
}

func newValve(t *testing.T, server string) *valve {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	v := &valve{address: listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			remote, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go v.flow(remote, client)
			go v.flow(client, remote)
		}
	}()
	return v
}

func (v *valve) flow(to io.WriteCloser, from io.Reader) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		v.mu.RLock()
		_, writeErr := to.Write(buffer[:n])
		v.mu.RUnlock()
		if err != nil || writeErr != nil {
			return
		}
	}
}

// A Redis that hangs lets one call wait, and for no longer than its timeout;
// no other waits as long as it hangs, and it is asked again when it is back.
func TestRedisHangs(t *testing.T) {
	needsServers(t)
	v := newValve(t, redistest.Start(t).Address)
	const timeout = 400 * time.Millisecond
	through, err := store.Open(store.Options{Addresses: []string{v.address}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = through.Release() }()
	s := Share(NewBook(), through, false, func(err error) { t.Log(err) })
	defer s.Close()
	app := Client("app", []Rule{window(Requests, 1e6, time.Hour), window(Tokens, 1e6, time.Hour), {Kind: Concurrent, Amount: 1e6}})
	call := func() {
		h, exceeded := ask(s, time.Now(), "m", Amounts{Input: 10}, app)
		if exceeded != nil {
			t.Fatalf("refused: %+v", exceeded)
		}
		h.Settle(time.Now(), Amounts{Input: 10})
	}
	call()
	eventually(t, func() bool { return equal(usedBy(t, s, time.Now(), app), []int64{1, 10, 0}) })
	v.mu.Lock()
	begun := time.Now()
	const calls = 200
	for range calls {
		call()
	}
	// Each would wait twice, if it did.
	if waited := time.Since(begun); waited > calls*timeout/10 {
		t.Errorf("%d calls waited %s", calls, waited)
	}
	v.mu.Unlock()
	eventually(t, func() bool { return !s.hung.Load() })
	// What Redis was asked for and did not answer in time it may have done in
	// the end; that may count twice, but is not held any more.
	eventually(t, func() bool {
		used := usedBy(t, s, time.Now(), app)
		return !s.hung.Load() && used[0] >= calls+1 && used[0] <= calls+2 && used[1] == 10*(calls+1) && used[2] == 0
	})
}
