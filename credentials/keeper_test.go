// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// issuer is a source whose tokens are numbered.
type issuer struct {
	lifetime time.Duration
	// takes is how long an answer takes.
	takes time.Duration

	asked  atomic.Int32
	failed atomic.Pointer[error]
}

func (i *issuer) Identity() string { return "app" }

func (i *issuer) Obtain(ctx context.Context, _ *credentials.Grant) (*credentials.Grant, error) {
	n := i.asked.Add(1)
	select {
	case <-time.After(i.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := i.failed.Load(); err != nil {
		return nil, *err
	}
	grant := &credentials.Grant{Secret: keypool.NewSecret(fmt.Sprintf("token-%d", n))}
	if i.lifetime != 0 {
		grant.Expires = time.Now().Add(i.lifetime)
	}
	return grant, nil
}

func (i *issuer) fail(err error) {
	if err == nil {
		i.failed.Store(nil)
		return
	}
	i.failed.Store(&err)
}

func get(t *testing.T, k *credentials.Keeper) string {
	t.Helper()
	grant, err := k.Get(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return grant.Secret.Reveal()
}

// A hundred calls that need a token at once have it asked for once.
func TestOneAttemptForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{lifetime: time.Hour, takes: 100 * time.Millisecond}
		k := credentials.NewKeeper(source, credentials.NewState(), nil)
		for round, want := range []string{"token-1", "token-2"} {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if got := get(t, k); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
				})
			}
			wg.Wait()
			if n := source.asked.Load(); int(n) != round+1 {
				t.Errorf("round %d: asked %d times", round, n)
			}
			time.Sleep(time.Hour)
		}
	})
}

// A token is renewed before it expires, without anybody waiting for it, and
// once.
func TestRenewedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{lifetime: time.Hour, takes: 100 * time.Millisecond}
		k := credentials.NewKeeper(source, credentials.NewState(), nil)
		get(t, k)
		time.Sleep(time.Hour - 7*time.Minute)
		get(t, k)
		synctest.Wait()
		if n := source.asked.Load(); n != 1 {
			t.Fatalf("asked %d times with seven minutes left", n)
		}
		time.Sleep(2*time.Minute + time.Second)
		began := time.Now()
		for range 100 {
			if got := get(t, k); got != "token-1" {
				t.Errorf("got %s", got)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %s", waited)
		}
		time.Sleep(time.Second)
		if got := get(t, k); got != "token-2" || source.asked.Load() != 2 {
			t.Errorf("got %s after asking %d times", got, source.asked.Load())
		}
	})
}

// A token of which nobody said when it expires is kept until it is refused.
func TestTokenWithoutExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := new(issuer)
		k := credentials.NewKeeper(source, credentials.NewState(), nil)
		get(t, k)
		time.Sleep(1000 * time.Hour)
		if got := get(t, k); got != "token-1" {
			t.Errorf("got %s", got)
		}
	})
}

// While the issuer is away the present token serves until it expires. Attempts
// are made further and further apart, and only while calls come. Then calls
// are told at once, and when the issuer is back it works again.
func TestIssuerAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{lifetime: time.Hour, takes: 100 * time.Millisecond}
		var events []credentials.Event
		k := credentials.NewKeeper(source, credentials.NewState(), func(e credentials.Event) { events = append(events, e) })
		get(t, k)
		obtained := time.Now()
		down := errors.New("connection refused")
		source.fail(down)

		time.Sleep(time.Hour - 4*time.Minute)
		for time.Since(obtained) < time.Hour-10*time.Second {
			if got := get(t, k); got != "token-1" {
				t.Fatalf("got %s", got)
			}
			time.Sleep(time.Second)
		}
		if n := source.asked.Load(); n < 5 || n > 15 {
			t.Errorf("asked %d times in four minutes", n)
		}

		time.Sleep(20 * time.Second)
		var unavailable *credentials.UnavailableError
		began, asked := time.Now(), source.asked.Load()
		for range 100 {
			_, err := k.Get(context.Background())
			if !errors.As(err, &unavailable) || !errors.Is(err, down) || !unavailable.Until.After(time.Now()) {
				t.Fatalf("got %v", err)
			}
		}
		if waited := time.Since(began); waited > source.takes || source.asked.Load() > asked+1 {
			t.Errorf("waited %s; asked %d times", waited, source.asked.Load()-asked)
		}

		source.fail(nil)
		time.Sleep(time.Until(unavailable.Until))
		if got := get(t, k); got == "token-1" {
			t.Error("got the expired token")
		}
		synctest.Wait()
		if len(events) != 2 || !errors.Is(events[0].Err, down) || events[0].Until.IsZero() || events[1].Err != nil {
			t.Errorf("events: %+v", events)
		}
	})
}

// A call that goes away fails no other, and an issuer that does not answer
// holds a call up only so long.
func TestWaitingHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{lifetime: time.Hour, takes: 2 * time.Second}
		k := credentials.NewKeeper(source, credentials.NewState(), nil)
		ctx, leave := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := k.Get(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the one that left got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if got := get(t, k); got != "token-1" {
				t.Errorf("the one that stayed got %s", got)
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()

		silent := &issuer{lifetime: time.Hour, takes: time.Hour}
		k = credentials.NewKeeper(silent, credentials.NewState(), nil)
		began := time.Now()
		_, err := k.Get(context.Background())
		var unavailable *credentials.UnavailableError
		if waited := time.Since(began); !errors.As(err, &unavailable) || waited != 3*time.Second {
			t.Errorf("got %v after %s", err, waited)
		}
		if _, err := k.Get(context.Background()); !errors.As(err, &unavailable) || time.Since(began) != 3*time.Second {
			t.Errorf("the next one got %v after %s", err, time.Since(began))
		}
		time.Sleep(28 * time.Second)
		if n := silent.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// A hundred calls whose token is refused have one other obtained, and what is
// the same as before is none.
func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &issuer{lifetime: time.Hour, takes: 100 * time.Millisecond}
		k := credentials.NewKeeper(source, credentials.NewState(), nil)
		refused, err := k.Get(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				grant, err := k.Renew(context.Background(), refused)
				if err != nil || grant.Secret.Reveal() != "token-2" {
					t.Errorf("got %v, %v", grant, err)
				}
			})
		}
		wg.Wait()
		if n := source.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}

		same := credentials.NewKeeper(constant("key"), credentials.NewState(), nil)
		refused, _ = same.Get(context.Background())
		if _, err := same.Renew(context.Background(), refused); !errors.Is(err, credentials.ErrSame) {
			t.Errorf("got %v", err)
		}
	})
}

type constant string

func (constant) Identity() string { return "constant" }

func (c constant) Obtain(context.Context, *credentials.Grant) (*credentials.Grant, error) {
	return &credentials.Grant{Secret: keypool.NewSecret(string(c))}, nil
}

// answer is a source that answers with the same, whatever it is.
type answer struct{ grant *credentials.Grant }

func (answer) Identity() string { return "answer" }

func (a answer) Obtain(context.Context, *credentials.Grant) (*credentials.Grant, error) {
	return a.grant, nil
}

// What is no credential is not lent out.
func TestWhatIsNoCredential(t *testing.T) {
	for name, grant := range map[string]*credentials.Grant{
		"nothing": nil,
		"empty":   {},
		"expired": {Secret: keypool.NewSecret("canary"), Expires: time.Now().Add(-time.Second)},
	} {
		k := credentials.NewKeeper(answer{grant}, credentials.NewState(), nil)
		var unavailable *credentials.UnavailableError
		if got, err := k.Get(context.Background()); !errors.As(err, &unavailable) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// Another config goes on with what the one before has obtained.
func TestReloadAsksForNothing(t *testing.T) {
	state, before, after := credentials.NewState(), &issuer{lifetime: time.Hour}, &issuer{lifetime: time.Hour}
	token := get(t, credentials.NewKeeper(before, state, nil))
	if got := get(t, credentials.NewKeeper(after, state, nil)); got != token || after.asked.Load() != 0 {
		t.Errorf("got %s after asking %d times", got, after.asked.Load())
	}
}

// A grant that is at hand is lent without allocating anything.
func TestLendingAllocatesNothing(t *testing.T) {
	k := credentials.NewKeeper(&issuer{lifetime: time.Hour}, credentials.NewState(), nil)
	get(t, k)
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() { _, _ = k.Get(ctx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
