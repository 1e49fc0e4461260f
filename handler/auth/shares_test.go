// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// from returns a context of a request from an address.
func from(ctx context.Context, address string) context.Context {
	return WithCaller(ctx, netip.MustParseAddr(address))
}

// flood comes with so many invented tokens at once from an address, again and
// again, and returns how many could not be judged.
func flood(ctx context.Context, i *Introspector, address string, tokens, times int, every time.Duration) (unjudged int) {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
	)
	for round := range times {
		for n := range tokens {
			group.Go(func() {
				_, err := i.Introspect(from(ctx, address), fmt.Sprintf("invented-token-%s-%d-%d", address, round, n))
				if errors.Is(err, ErrUnjudged) {
					mu.Lock()
					unjudged++
					mu.Unlock()
				}
			})
		}
		time.Sleep(every)
	}
	group.Wait()
	return unjudged
}

// Whoever floods the issuer with invented tokens keeps nobody at another
// address from being asked about; the issuer is asked about half as many as may
// be, and nothing of it is remembered when it is over.
func TestOneAddressTakesNotAllQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		const others = 10
		e.set(func() {
			e.slow = 20 * time.Millisecond
			for n := range others {
				e.says[fmt.Sprintf("opaque-token-of-%d", n)] = `{"active":true}`
			}
		})
		done := make(chan int)
		go func() { done <- flood(t.Context(), i, "192.0.2.1", 10, 1000, 5*time.Millisecond) }()
		for n := range others {
			time.Sleep(403 * time.Millisecond)
			began := time.Now()
			if _, err := i.Introspect(from(t.Context(), "192.0.2.2"), fmt.Sprintf("opaque-token-of-%d", n)); err != nil {
				t.Errorf("another's token: %v", err)
			}
			if took := time.Since(began); took > 200*time.Millisecond {
				t.Errorf("another's token waited %s", took)
			}
		}
		if unjudged := <-done; unjudged < 9000 {
			t.Errorf("%d of the invented tokens could not be judged", unjudged)
		}
		// Five seconds at half of 50 a second, and what was under way.
		if n := e.asked.Load() - others; n > 6*25+10 || n < 25 {
			t.Errorf("the issuer was asked about %d invented tokens", n)
		}
		if len(i.shares.taken) != 0 {
			t.Errorf("%d addresses are remembered", len(i.shares.taken))
		}
	})
}

// The time that tokens wait for their turn is not the issuer's: whoever comes
// with many at once does not make it look as if it were away.
func TestWaitingIsNotTheIssuersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		i.MaxInFlight = 20
		i.Init()
		e.set(func() { e.slow = 1200 * time.Millisecond })
		done := make(chan int)
		go func() { done <- flood(t.Context(), i, "192.0.2.1", 100, 1, 0) }()
		time.Sleep(i.Timeout + time.Millisecond) // so long, the last ones have waited
		if _, err := i.Introspect(from(t.Context(), "192.0.2.2"), goodToken); err != nil {
			t.Errorf("another's token: %v", err)
		}
		if unjudged := <-done; unjudged == 0 {
			t.Error("none of the invented tokens has waited too long")
		}
	})
}

// An address with many good tokens waits for its turn, and all are judged; it
// has half of the questions that may be under way.
func TestManyGoodTokensOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		e.set(func() { e.slow = 100 * time.Millisecond })
		var group sync.WaitGroup
		for n := range 40 {
			token := fmt.Sprintf("opaque-token-of-%d", n)
			e.set(func() { e.says[token] = `{"active":true}` })
			group.Go(func() {
				if _, err := i.Introspect(from(t.Context(), "2001:db8::1"), token); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if most := e.most.Load(); most != 2 {
			t.Errorf("%d questions at a time, want 2 of 4", most)
		}
	})
}

// Who invents ids of keys does not keep the tokens of others waiting for a new
// key, for long.
func TestInventedKeyIDsKeepNoNewKeyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		v, ctx := i.fetching(), t.Context()
		stranger := newIssuer(t)
		stranger.keys["invented"] = stranger.keys["ed"]
		invented := stranger.sign("invented", jose.EdDSA, claims(nil))
		time.Sleep(minRefresh)
		before := i.fetches.Load()
		for range 10 {
			if _, err := whose(from(ctx, "192.0.2.1"), v, invented); err == nil {
				t.Fatal("taken")
			}
		}
		if n := i.fetches.Load() - before; n != 1 {
			t.Errorf("one address has caused %d fetches at once", n)
		}
		_, private, _ := ed25519.GenerateKey(rand.Reader)
		i.add("new", crypto.Signer(private))
		token := i.sign("new", jose.EdDSA, claims(nil))
		time.Sleep(minOther)
		if _, err := whose(from(ctx, "192.0.2.1"), v, invented); err == nil {
			t.Fatal("taken")
		}
		if _, err := whose(from(ctx, "192.0.2.2"), v, token); err != nil {
			t.Errorf("another's token of a new key: %v", err)
		}
	})
}
