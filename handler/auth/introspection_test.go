// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// endpoint is an issuer that is asked about tokens.
type endpoint struct {
	asked, most, under atomic.Int64
	// says is what it says of tokens; away is that it cannot be asked, and
	// slow how long it takes to answer.
	mu   sync.Mutex
	says map[string]string
	away error
	slow time.Duration
}

const goodToken = "opaque-token-of-alice"

func (e *endpoint) ask(ctx context.Context, token string) ([]byte, error) {
	e.asked.Add(1)
	e.most.Store(max(e.most.Load(), e.under.Add(1)))
	defer e.under.Add(-1)
	e.mu.Lock()
	slow := e.slow
	e.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away != nil {
		return nil, e.away
	}
	if said, ok := e.says[token]; ok {
		return []byte(said), nil
	}
	return []byte(`{"active":false}`), nil
}

func (e *endpoint) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

// introspector returns one that asks an endpoint which knows goodToken.
func (e *endpoint) introspector() *Introspector {
	e.says = map[string]string{goodToken: `{"active":true,"sub":"alice"}`}
	i := &Introspector{
		Ask: e.ask, Now: time.Now, Report: func(error) {}, Timeout: 5 * time.Second, MaxInFlight: 4, MaxRate: 50,
		Fresh: time.Minute, Stale: 10 * time.Minute, Refused: 10 * time.Second,
	}
	i.Init()
	return i
}

func checkAsked(t *testing.T, e *endpoint, want int64) {
	t.Helper()
	if n := e.asked.Load(); n != want {
		t.Errorf("the issuer was asked %d times, want %d", n, want)
	}
}

func checkGood(t *testing.T, i *Introspector) {
	t.Helper()
	if claims, err := i.Introspect(t.Context(), goodToken); err != nil || claims.Text(Path{"sub"}) != "alice" {
		t.Errorf("got %s, %v", claims, err)
	}
}

// What an issuer says is remembered for a while, and not beyond the token's
// end; that a token is not good, for a moment.
func TestAnswersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		for range 100 {
			checkGood(t, i)
		}
		checkAsked(t, &e, 1)
		time.Sleep(time.Minute)
		checkGood(t, i)
		checkAsked(t, &e, 2)

		const unknown = "a-token-that-nobody-has"
		for range 100 {
			if _, err := i.Introspect(t.Context(), unknown); err == nil || errors.Is(err, ErrUnjudged) {
				t.Fatalf("got %v", err)
			}
		}
		checkAsked(t, &e, 3)
		e.set(func() { e.says[unknown] = `{"active":true}` })
		time.Sleep(10 * time.Second)
		if _, err := i.Introspect(t.Context(), unknown); err != nil {
			t.Errorf("a token that has become good: %v", err)
		}

		e.set(func() {
			e.says["short-lived-token"] = fmt.Sprintf(`{"active":true,"exp":%d}`, time.Now().Add(20*time.Second).Unix())
		})
		for elapsed, good := range []bool{true, false} {
			time.Sleep(time.Duration(elapsed) * 20 * time.Second)
			if _, err := i.Introspect(t.Context(), "short-lived-token"); (err == nil) != good {
				t.Errorf("after %d lives: %v", elapsed, err)
			}
		}
	})
}

// A token that the issuer has called off ceases to serve when its answer is no
// longer fresh.
func TestTokensAreCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		checkGood(t, i)
		e.set(func() { delete(e.says, goodToken) })
		time.Sleep(time.Minute)
		if _, err := i.Introspect(t.Context(), goodToken); !errors.Is(err, errInactive) {
			t.Errorf("got %v", err)
		}
		// Also where the issuer goes away then.
		e.set(func() { e.away = errors.New("away") })
		time.Sleep(11 * time.Second)
		if _, err := i.Introspect(t.Context(), goodToken); !errors.Is(err, ErrUnjudged) {
			t.Errorf("got %v", err)
		}
	})
}

// Where the issuer is away, the tokens that it has called good serve on for a
// while; others cannot be judged. It is soon left alone, and asked again when
// it is back; operators hear of both once.
func TestIssuerThatCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		var reports []string
		i.Report = func(err error) { reports = append(reports, fmt.Sprint(err)) }
		checkGood(t, i)
		e.set(func() { e.away = errors.New("connection refused") })
		time.Sleep(2 * time.Minute)
		for range 100 {
			checkGood(t, i)
			if _, err := i.Introspect(t.Context(), "another-opaque-token"); !errors.Is(err, ErrUnjudged) {
				t.Fatalf("got %v", err)
			}
		}
		checkAsked(t, &e, 1+failuresInRow)
		time.Sleep(8 * time.Minute)
		if _, err := i.Introspect(t.Context(), goodToken); !errors.Is(err, ErrUnjudged) {
			t.Errorf("after ten minutes: %v", err)
		}
		e.set(func() { e.away = nil })
		time.Sleep(awayFor + time.Second)
		checkGood(t, i)
		if got := strings.Join(reports, "; "); got != "connection refused; <nil>" {
			t.Errorf("reported: %s", got)
		}
	})
}

// A flood of invented tokens is no flood for the issuer, and crowds out no good
// one. Calls with the same token ask once.
func TestFloodOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		checkGood(t, i)
		e.set(func() { e.slow = 10 * time.Millisecond })
		var calls sync.WaitGroup
		for n := range 20_000 {
			calls.Go(func() {
				if _, err := i.Introspect(t.Context(), fmt.Sprintf("an-invented-token-%d", n)); err == nil {
					t.Error("an invented token is good")
				}
			})
		}
		calls.Wait()
		checkGood(t, i)
		checkAsked(t, &e, 50)
		if n := e.most.Load(); n != 4 {
			t.Errorf("%d questions were under way", n)
		}

		time.Sleep(time.Minute)
		before := e.asked.Load()
		for range 1000 {
			calls.Go(func() { checkGood(t, i) })
		}
		calls.Wait()
		checkAsked(t, &e, before+1)
	})
}

// An issuer that does not answer holds a call up for no longer than the
// timeout; a caller who has gone takes nobody's answer along.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		e.set(func() { e.slow = time.Hour })
		begin := time.Now()
		if _, err := i.Introspect(t.Context(), goodToken); !errors.Is(err, ErrUnjudged) || time.Since(begin) != i.Timeout {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		e.set(func() { e.slow = time.Second })
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, leave)
		go func() { _, _ = i.Introspect(gone, goodToken) }()
		synctest.Wait()
		checkGood(t, i)
		checkAsked(t, &e, 2)
	})
}

// What cannot be a token, and what looks like a key of ours, is shown to no
// issuer.
func TestWhatIsNoToken(t *testing.T) {
	var e endpoint
	i := e.introspector()
	for name, text := range map[string]string{
		"empty": "", "short": "fifteen-letters", "ours": NewSecret(), "long": strings.Repeat("a", maxToken+1),
		"space": "a token with spaces", "line": "a-token-over\r\ntwo-lines", "padding within": "a-token=with-padding",
		"not ASCII": "ein-schönes-Wertzeichen", "control": "a-token-with-\x00-in-it",
	} {
		if _, err := i.Introspect(t.Context(), text); err == nil || errors.Is(err, ErrUnjudged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	checkAsked(t, &e, 0)
}

// Answers that make no sense judge nothing. Those about one token are no sign
// that the issuer is away.
func TestAnswersWithoutSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e endpoint
		i := e.introspector()
		nonsense := []string{`{"active":true,"exp":"soon"}`, `{"active":true,"nbf":[]}`, "", "[]", "{}", `{"active":"true"}`, `{"active":null,"sub":"x"}x`}
		for n, text := range nonsense {
			token := fmt.Sprintf("a-token-without-sense-%d", n)
			e.set(func() { e.says[token] = text })
			if _, err := i.Introspect(t.Context(), token); !errors.Is(err, ErrUnjudged) {
				t.Errorf("%s: %v", text, err)
			}
		}
		time.Sleep(awayFor + time.Second)
		e.set(func() { e.away = fmt.Errorf("%w: 400", ErrStrange) })
		for n := range 2 * failuresInRow {
			if _, err := i.Introspect(t.Context(), fmt.Sprintf("a-strange-token-%d", n)); !errors.Is(err, ErrStrange) {
				t.Errorf("got %v", err)
			}
		}
		e.set(func() { e.away = nil })
		checkGood(t, i)
		for text, good := range map[string]bool{
			fmt.Sprintf(`{"active":true,"nbf":%d}`, time.Now().Unix()+60): false,
			fmt.Sprintf(`{"active":true,"exp":%d}`, time.Now().Unix()):    false,
			`{"active":true,"exp":1e12,"nbf":1.5}`:                        true,
		} {
			token := "a-token-of-its-time-" + fmt.Sprint(len(text))
			e.set(func() { e.says[token] = text })
			if _, err := i.Introspect(t.Context(), token); (err == nil) != good || errors.Is(err, ErrUnjudged) {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
}

// However many tokens there are, answers take bounded room.
func TestAnswersAreBounded(t *testing.T) {
	var a answers
	for n := range maxBad + maxGood + 1000 {
		a.remember(HashSecret(fmt.Sprint("bad", n)), answer{})
		a.remember(HashSecret(fmt.Sprint("good", n)), answer{claims: Claims{}})
	}
	if len(a.bad) != maxBad || len(a.good) != maxGood {
		t.Errorf("%d bad and %d good ones are remembered", len(a.bad), len(a.good))
	}
}
