// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// directory is a provider that lists its models, without a network, so that
// time can be simulated.
type directory struct {
	mu      sync.Mutex
	asked   map[string][]time.Time
	refused map[string]bool
	answer  func(req *http.Request) (status int, body string)
}

func (d *directory) RoundTrip(req *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	d.asked[key] = append(d.asked[key], time.Now())
	status, body := 200, `{"object":"list","data":[]}`
	if d.refused[key] {
		status, body = 401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`
	}
	if d.answer != nil {
		status, body = d.answer(req)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

func (d *directory) refuse(key string, refuse bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[key] = refuse
}

// answers sets how every request is answered.
func (d *directory) answers(answer func(req *http.Request) (status int, body string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

// requests returns when each key was used.
func (d *directory) requests() map[string][]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.asked)
}

func (d *directory) probes(key string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked[key])
}

// However long it takes until a config is in force, or is dropped, it probes
// nothing before.
func TestProbesBeginWithTheConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{asked: map[string][]time.Time{}, refused: map[string]bool{}}
		tr := provision(t, &Transport{
			Providers: []*Provider{pool("p", "https://api.example.com/v1", "a-"+t.Name())}, Probe: caddy.Duration(time.Second),
		})
		tr.Providers[0].transport = d
		time.Sleep(time.Hour)
		if n := d.probes("a-" + t.Name()); n > 0 {
			t.Errorf("%d probes before the config was in force", n)
		}
		tr.comeIntoForce()
		time.Sleep(time.Minute)
		if d.probes("a-"+t.Name()) == 0 {
			t.Error("no probe of the config in force")
		}
		if err := tr.Cleanup(); err != nil {
			t.Fatal(err)
		}
	})
}

// probing runs f beside a transport that probes n keys, k0, k1, …, of a
// provider, which prepare may have made ready.
func probing(t *testing.T, n int, every time.Duration, f func(d *directory, p *Provider), prepare ...func(p *Provider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &directory{asked: map[string][]time.Time{}, refused: map[string]bool{}}
		family, _ := wire.Lookup("openai")
		p := &Provider{Name: "p", family: family, transport: d, Probe: caddy.Duration(every)}
		if err := p.setBase("https://api.example.com/v1"); err != nil {
			t.Fatal(err)
		}
		var keys []keypool.Key
		var states []*keypool.State
		for i := range n {
			keys = append(keys, keypool.Key{ID: fmt.Sprintf("k%d", i), Secret: keypool.NewSecret(fmt.Sprintf("k%d", i))})
			states = append(states, keypool.NewState())
		}
		made, err := keypool.New(keys, states, keypool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.pool.Store(made)
		for _, change := range prepare {
			change(p)
		}
		tr := &Transport{Providers: []*Provider{p}, logger: zap.NewNop()}
		tr.newProbers()
		tr.startProbes()
		defer tr.stopProbes()
		f(d, p)
	})
}

// report has a call with a certain key end in a verdict.
func report(t *testing.T, p *Provider, key string, class keypool.Class) {
	t.Helper()
	lease, err := p.pool.Load().Acquire(keypool.Want{Model: "m", KeyID: key}, nil)
	if err != nil {
		t.Fatalf("acquiring %s: %v", key, err)
	}
	lease.Report(keypool.Outcome{Verdict: keypool.Verdict{Class: class}})
}

// Nothing is asked at once, as a config that is only validated must cause no
// traffic; then each key that was never used is, once.
func TestUnknownKeysAreProbedAWhileAfterTheStart(t *testing.T) {
	probing(t, 10, 15*time.Second, func(d *directory, p *Provider) {
		d.refuse("k3", true)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for key, times := range d.requests() {
			t.Errorf("%s was asked %s after the start", key, time.Since(times[0]))
		}
		time.Sleep(26 * time.Second)
		for i := range 10 {
			key := fmt.Sprintf("k%d", i)
			if n := d.probes(key); n != 1 && key != "k3" {
				t.Errorf("%s was probed %d times", key, n)
			}
			if state := p.pool.Load().Snapshot()[i].State; (state == "open") != (key == "k3") {
				t.Errorf("%s is %s", key, state)
			}
		}
		before := d.probes("k0")
		time.Sleep(time.Hour)
		if n := d.probes("k0"); n != before {
			t.Errorf("a key that was accepted was probed %d times more", n-before)
		}
	})
}

// A key that is rejected is used again within 30 seconds of working again,
// however long it has rested.
func TestRejectedKeyHealsSoonAfterItWorksAgain(t *testing.T) {
	probing(t, 3, 15*time.Second, func(d *directory, p *Provider) {
		time.Sleep(time.Minute)
		d.refuse("k1", true)
		report(t, p, "k1", keypool.ClassCredential)
		time.Sleep(2 * time.Hour)
		if state := p.pool.Load().Snapshot()[1].State; state != "open" {
			t.Errorf("the rejected key is %s", state)
		}
		probes := d.probes("k1")
		if probes < 400 || probes > 800 {
			t.Errorf("%d probes in two hours, want one each 15 seconds or so", probes)
		}
		d.refuse("k1", false)
		time.Sleep(30 * time.Second)
		if state := p.pool.Load().Snapshot()[1].State; state != "closed" {
			t.Errorf("the key is %s, 30 seconds after it works again", state)
		}
		after := d.probes("k1")
		time.Sleep(time.Hour)
		if n := d.probes("k1") - after; n > 0 {
			t.Errorf("it was probed %d times more", n)
		}
	})
}

// However many keys there are, a provider is not asked for all of them at once.
func TestProbesAreSpaced(t *testing.T) {
	probing(t, 200, 15*time.Second, func(d *directory, _ *Provider) {
		time.Sleep(5 * time.Minute)
		asked, bySecond := d.requests(), map[int64]int{}
		for _, times := range asked {
			for _, at := range times {
				bySecond[at.Unix()]++
			}
		}
		if len(asked) != 200 {
			t.Errorf("%d keys were probed, want all", len(asked))
		}
		for second, n := range bySecond {
			if n > 2*probesInPart {
				t.Errorf("%d probes in second %d", n, second)
			}
		}
	})
}

// A model that a key may not use is asked for by name.
func TestProbeOfAModel(t *testing.T) {
	probing(t, 1, 15*time.Second, func(d *directory, p *Provider) {
		var allowed atomic.Bool
		var asked atomic.Value
		d.answers(func(req *http.Request) (int, string) {
			asked.Store(req.Method + " " + req.URL.String())
			if strings.HasSuffix(req.URL.Path, "/m") && !allowed.Load() {
				return 404, `{"error":{"code":"model_not_found"}}`
			}
			return 200, `{}`
		})
		report(t, p, "k0", keypool.ClassAccess)
		time.Sleep(time.Minute)
		if len(p.pool.Load().Snapshot()[0].CoolingModels) != 1 {
			t.Error("the key does not rest for the model")
		}
		allowed.Store(true)
		time.Sleep(30 * time.Second)
		if len(p.pool.Load().Snapshot()[0].CoolingModels) != 0 {
			t.Error("the key still rests for the model")
		}
		if asked.Load() != "GET https://api.example.com/v1/models/m" {
			t.Errorf("asked %s", asked.Load())
		}
	})
}

// A provider that has no list of models is asked for it once.
func TestProviderWithoutAListIsLeftAlone(t *testing.T) {
	for _, status := range []int{404, 405} {
		probing(t, 5, 15*time.Second, func(d *directory, p *Provider) {
			d.answers(func(*http.Request) (int, string) { return status, `` })
			time.Sleep(time.Hour)
			total := 0
			for i := range 5 {
				total += d.probes(fmt.Sprintf("k%d", i))
				if state := p.pool.Load().Snapshot()[i].State; state != "closed" {
					t.Errorf("%d: k%d is %s", status, i, state)
				}
			}
			if total != 1 {
				t.Errorf("%d: asked %d times", status, total)
			}
		})
	}
}

// Answers that say nothing of the key change nothing.
func TestProbesThatSayNothing(t *testing.T) {
	for _, status := range []int{302, 403, 429, 500, 503} {
		probing(t, 2, 15*time.Second, func(d *directory, p *Provider) {
			d.answers(func(*http.Request) (int, string) { return status, `` })
			time.Sleep(2 * time.Minute)
			for _, key := range p.pool.Load().Snapshot() {
				if key.State != "closed" || key.Total != 0 {
					t.Errorf("%d: %+v", status, key)
				}
			}
		})
	}
}

// lending lends one token.
type lending struct{ token string }

func (lending) Identity() string { return "somebody" }

func (l lending) Obtain(context.Context, *credentials.Grant) (*credentials.Grant, error) {
	if l.token == "" {
		return nil, errors.New("connection refused")
	}
	return &credentials.Grant{Secret: keypool.NewSecret(l.token)}, nil
}

// A key that is lent its credential is probed with that, and not at all while
// there is none. A token that is refused is not the key's fault.
func TestProbesWithLentCredentials(t *testing.T) {
	for token, asked := range map[string]int{"token": 1, "": 0, "refused": 1} {
		prepare := func(p *Provider) {
			keeper := credentials.NewKeeper(lending{token}, credentials.NewState(), func(credentials.Event) {})
			p.keepers = map[string]*credentials.Keeper{"k0": keeper}
		}
		probing(t, 1, 15*time.Second, func(d *directory, p *Provider) {
			d.refuse("refused", true)
			time.Sleep(time.Minute)
			for key := range d.requests() {
				if key != token {
					t.Errorf("%q: the provider was sent %q", token, key)
				}
			}
			if n := d.probes(token); n < asked || asked == 0 && n > 0 {
				t.Errorf("%q: %d probes", token, n)
			}
			if state := p.pool.Load().Snapshot()[0].State; state != "closed" {
				t.Errorf("%q: the key is %s", token, state)
			}
		}, prepare)
	}
}

// Without a wish for it nothing is probed, and what is absurd is refused.
func TestProbesCanBeSwitchedOff(t *testing.T) {
	probing(t, 2, -1, func(d *directory, _ *Provider) {
		time.Sleep(time.Hour)
		if asked := d.requests(); len(asked) > 0 {
			t.Errorf("asked: %v", asked)
		}
	})
	p := pool("p", "http://127.0.0.1:1", "a-"+t.Name())
	p.Probe = caddy.Duration(time.Millisecond)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	tr := &Transport{Providers: []*Provider{p}}
	defer func() { _ = tr.Cleanup() }()
	if err := tr.Provision(ctx); err == nil || !strings.Contains(err.Error(), "probe: must be at least 1s") {
		t.Errorf("got %v", err)
	}
}
