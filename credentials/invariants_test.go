// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// moody is a source that answers late, fails, and lends for odd times.
type moody struct {
	t      *testing.T
	seed   uint64
	asked  atomic.Int32
	flying atomic.Int32
}

func (*moody) Identity() string { return "moody" }

func (m *moody) Obtain(ctx context.Context, _ *credentials.Grant) (*credentials.Grant, error) {
	if m.flying.Add(1) > 1 {
		m.t.Error("asked twice at a time")
	}
	defer m.flying.Add(-1)
	n := m.asked.Add(1)
	random := rand.New(rand.NewPCG(m.seed, uint64(n)))
	select {
	case <-time.After(time.Duration(random.Int64N(int64(6 * time.Second)))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if random.IntN(3) == 0 {
		return nil, errors.New("in a mood")
	}
	grant := &credentials.Grant{Secret: keypool.NewSecret(fmt.Sprint("token-", n))}
	if random.IntN(10) > 0 {
		grant.Expires = time.Now().Add(time.Duration(1 + random.Int64N(int64(10*time.Minute))))
	}
	return grant, nil
}

// Whatever a source does, and however many calls there are: it is asked once at
// a time, nothing is lent that has expired or was refused, no call waits for
// long, and what is unavailable is so until a time to come.
func TestInvariants(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			source := &moody{t: t, seed: seed}
			state := credentials.NewState()
			var refused sync.Map
			var wg sync.WaitGroup
			for caller := range 20 {
				// Two configs, as while one is being replaced.
				k := credentials.NewKeeper(source, state, nil)
				random := rand.New(rand.NewPCG(seed, 1000+uint64(caller)))
				wg.Go(func() {
					for range 200 {
						time.Sleep(time.Duration(random.Int64N(int64(40 * time.Second))))
						began := time.Now()
						grant, err := k.Get(context.Background())
						check(t, &refused, grant, err, began)
						if err == nil && random.IntN(20) == 0 {
							began = time.Now()
							refused.Store(grant, began)
							renewed, err := k.Renew(context.Background(), grant)
							if renewed == grant {
								t.Error("got what was refused")
							}
							check(t, &refused, renewed, err, began)
						}
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute) // the last attempt ends by itself
			if n := source.asked.Load(); n < 20 {
				t.Errorf("asked %d times: the test tests little", n)
			}
		})
	}
}

func check(t *testing.T, refused *sync.Map, grant *credentials.Grant, err error, began time.Time) {
	now := time.Now()
	if waited := now.Sub(began); waited > 3*time.Second {
		t.Errorf("waited %s", waited)
	}
	var unavailable *credentials.UnavailableError
	if err != nil {
		if !errors.As(err, &unavailable) || !unavailable.Until.After(now) {
			t.Errorf("got %v", err)
		}
		return
	}
	if !grant.Expires.IsZero() && !now.Before(grant.Expires) {
		t.Error("got what has expired")
	}
	if at, ok := refused.Load(grant); ok && at.(time.Time).Before(began) {
		t.Error("got what was refused before")
	}
}
