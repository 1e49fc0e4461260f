// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Any number of calls in a row, beginning anywhere, is shared by weight.
func TestSplitSharesEvenly(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		weights := make([]float64, 2+random.IntN(4))
		total := 0.0
		for i := range weights {
			weights[i] = float64(random.IntN(100))
		}
		weights[0]++
		for _, weight := range weights {
			total += weight
		}
		from, got := random.Uint64(), make([]float64, len(weights))
		for n := range 10_000 {
			got[pick(weights, from+uint64(n))]++
			for i, weight := range weights {
				if want := float64(n+1) * weight / total; math.Abs(got[i]-want) > 6 {
					t.Fatalf("weights %v, after %d calls from %d: %v, want %.1f of the %dth", weights, n+1, from, got, want, i+1)
				}
			}
		}
	}
}

// scriptedProvider is a provider without a network, for simulated time: it
// answers by a function.
type scriptedProvider struct {
	asked  int
	answer func() (status int, body io.Reader)
}

func (p *scriptedProvider) RoundTrip(req *http.Request) (*http.Response, error) {
	p.asked++
	status, body := p.answer()
	media := "text/event-stream"
	if status != 200 {
		media = "application/json"
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(body), Request: req}, nil
}

func serves() (int, io.Reader) {
	return 200, strings.NewReader(roleChunk + chunk("hello") + finishChunk + doneEvent)
}

func fails() (int, io.Reader) { return 500, strings.NewReader(`{"error":{"message":"boom"}}`) }

// hesitates serves after a while.
func hesitates(by time.Duration) func() (int, io.Reader) {
	return func() (int, io.Reader) {
		status, body := serves()
		return status, io.MultiReader(strings.NewReader(roleChunk), pause(by), body)
	}
}

// pause is a reader with nothing in it, of which that is known only later.
type pause time.Duration

func (p pause) Read([]byte) (int, error) {
	time.Sleep(time.Duration(p)) // in simulated time
	return 0, io.EOF
}

// trialRun is a split between two scripted providers.
type trialRun struct {
	*Transport
	stable, canary scriptedProvider
	log            *observer.ObservedLogs
}

// newTrialRun splits the calls 90 to 10. It must be called in a bubble.
func newTrialRun(t *testing.T, configure func(*Transport)) *trialRun {
	t.Helper()
	name := t.Name()
	r := &trialRun{stable: scriptedProvider{answer: serves}, canary: scriptedProvider{answer: serves}}
	tr := &Transport{
		Providers: []*Provider{
			pool("stable", "http://stable.example/v1", "s-"+name), pool("canary", "http://canary.example/v1", "c-"+name),
		},
		Models: []*ModelRoute{{
			Match: "gpt-*", Split: []int{90, 10}, Targets: []Target{{Provider: "stable"}, {Provider: "canary", Model: name}},
		}},
		Retry: quick,
	}
	if configure != nil {
		configure(tr)
	}
	r.Transport = provision(t, tr)
	tr.Providers[0].transport, tr.Providers[1].transport = &r.stable, &r.canary
	core, log := observer.New(zapcore.InfoLevel)
	r.log = log
	for _, chain := range tr.routes.lines[0].chains {
		chain.split.logger = zap.New(core)
	}
	return r
}

// calls makes calls, one each 100ms, and returns how many the canary served.
func (r *trialRun) calls(t *testing.T, n int) int {
	t.Helper()
	served := 0
	for range n {
		status, _, call := chat(t, r.Transport, chatStreamBody)
		if status != 200 {
			t.Fatalf("got %d", status)
		}
		if call.Provider == "canary" {
			served++
		}
		time.Sleep(100 * time.Millisecond) // in simulated time
	}
	return served
}

func (r *trialRun) logged(t *testing.T, message string, times int) {
	t.Helper()
	if n := r.log.FilterMessage(message).Len(); n != times {
		t.Errorf("the log says %d times %q, want %d; all it says: %v", n, message, times, r.log.All())
	}
}

// A canary that fails is withdrawn after a few calls, which the stable target
// serves; it is tried again gently, and when it has healed it gets back its
// share.
func TestBadCanaryIsWithdrawnAndComesBackHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTrialRun(t, nil)
		if n := r.calls(t, 1000); n < 95 || n > 105 {
			t.Errorf("a good canary served %d of 1000 calls, want about 100", n)
		}
		r.logged(t, "canary withdrawn", 0)

		r.canary.answer, r.canary.asked = fails, 0
		if n := r.calls(t, 500); n != 0 {
			t.Errorf("%d calls served by a broken canary", n)
		}
		// 100 calls or so are known to have been served, so it takes more.
		if r.canary.asked < 3 || r.canary.asked > 15 {
			t.Errorf("a broken canary was asked %d times", r.canary.asked)
		}
		r.logged(t, "canary withdrawn", 1)

		r.canary.asked = 0
		r.calls(t, 1200) // it rests for 1, then 2 minutes
		if r.canary.asked < 1 || r.canary.asked > 15 {
			t.Errorf("when tried again, a broken canary was asked %d times", r.canary.asked)
		}
		r.logged(t, "canary back", 1)
		r.logged(t, "canary withdrawn", 2)

		r.canary.answer = serves
		r.calls(t, 1200)
		r.logged(t, "canary back", 2)
		gently := r.calls(t, 600)
		r.calls(t, 2400)
		whole := r.calls(t, 1000)
		if gently < 5 || gently > 40 || whole < 95 || whole > 105 {
			t.Errorf("healed, it served %d of 600 calls at first and %d of 1000 at last", gently, whole)
		}
		r.logged(t, "canary withdrawn", 2)
	})
}

// A canary whose streams begin late is withdrawn, although nothing fails.
func TestSlowCanaryIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTrialRun(t, func(tr *Transport) { tr.Models[0].Split = []int{50, 50} })
		r.stable.answer, r.canary.answer = hesitates(400*time.Millisecond), hesitates(700*time.Millisecond)
		r.calls(t, 100)
		if r.canary.asked < enoughTimes || r.canary.asked > enoughTimes+5 {
			t.Errorf("a slow canary was asked %d times", r.canary.asked)
		}
		r.logged(t, "canary withdrawn", 1)
		fields := r.log.FilterMessage("canary withdrawn").All()[0].ContextMap()
		if fields["first_token"] != 700*time.Millisecond || fields["stable_first_token"] != 400*time.Millisecond || fields["error_rate"] != 0.0 ||
			fields["canary"] != "canary/"+t.Name() || fields["stable"] != "stable" || fields["model"] != "gpt-*" {
			t.Errorf("the log says %v", fields)
		}
	})
}

// What is not the target's fault does not withdraw a canary; what keeps it from
// serving does.
func TestWhatWithdrawsACanary(t *testing.T) {
	answers := func(status int, body string) func() (int, io.Reader) {
		return func() (int, io.Reader) { return status, strings.NewReader(body) }
	}
	unknown := answers(404, `{"error":{"message":"The model does not exist","code":"model_not_found"}}`)
	for name, test := range map[string]struct {
		answer    func() (int, io.Reader)
		withdrawn int
	}{
		"client's fault": {answers(400, `{"error":{"message":"bad tool","type":"invalid_request_error"}}`), 0},
		"long prompt":    {answers(400, `{"error":{"message":"too long","code":"context_length_exceeded"}}`), 0},
		"filter":         {answers(400, `{"error":{"message":"no","code":"content_filter"}}`), 0},
		"overloaded":     {answers(529, `{"error":{"type":"overloaded_error"}}`), 1},
		"rejected key":   {answers(401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`), 1},
		"no quota":       {answers(429, `{"error":{"code":"insufficient_quota"}}`), 1},
		"unknown model":  {unknown, 1},
		"client's model": {unknown, 0},
		"nothing in it":  {answers(200, roleChunk+finishChunk+doneEvent), 1},
		"breaks off":     {answers(200, roleChunk+chunk("hel")), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTrialRun(t, func(tr *Transport) {
					tr.Models[0].Split = []int{50, 50}
					if name == "client's model" {
						tr.Models[0].Targets[1].Model = ""
					}
				})
				r.canary.answer = test.answer
				for range 40 {
					chat(t, r.Transport, chatStreamBody)
				}
				r.logged(t, "canary withdrawn", test.withdrawn)
			})
		})
	}
}

// The one whose turn it is comes first, then the others of the split, then
// those without a share. A canary that is withdrawn is the last resort.
func TestFallbacksOfASplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTrialRun(t, func(tr *Transport) {
			tr.Providers = append(tr.Providers, pool("spare", "http://spare.example/v1", "x-"+t.Name()))
			tr.Models[0].Targets = append(tr.Models[0].Targets, Target{Provider: "spare"})
		})
		spare := &scriptedProvider{answer: serves}
		r.Providers[2].transport = spare
		route := func() string {
			_, _, call := chat(t, r.Transport, chatStreamBody)
			var asked []string
			for _, attempt := range call.Attempts {
				if n := len(asked); n == 0 || asked[n-1] != attempt.Provider {
					asked = append(asked, attempt.Provider)
				}
			}
			return strings.Join(asked, " ")
		}
		r.stable.answer, r.canary.answer = fails, fails
		seen := map[string]bool{}
		for range 3 {
			seen[route()] = true
			time.Sleep(time.Minute) // the breakers close again
		}
		if !seen["stable canary spare"] {
			t.Errorf("asked in this order: %v", seen)
		}

		// Now the canary alone fails, and then all others.
		r.stable.answer = serves
		r.calls(t, 200)
		r.logged(t, "canary withdrawn", 1)
		r.stable.answer, spare.answer, r.canary.answer = fails, fails, serves
		time.Sleep(15 * time.Second)
		if got := route(); got != "stable spare canary" {
			t.Errorf("with the canary withdrawn, asked in the order %s", got)
		}
	})
}

// A reload forgets neither that a canary is withdrawn nor why.
func TestReloadKeepsACanaryWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTrialRun(t, nil)
		r.canary.answer = fails
		r.calls(t, 50)
		r.logged(t, "canary withdrawn", 1)
		next := newTrialRun(t, func(tr *Transport) { tr.Models[0].Split = []int{1, 1} })
		if err := r.Cleanup(); err != nil {
			t.Fatal(err)
		}
		if n := next.calls(t, 50); n != 0 {
			t.Errorf("after a reload, the canary served %d calls", n)
		}
	})
}

// Calls of the other families of a line are not split.
func TestSplitIsOfOneFamily(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	line := func(split []int, targets ...Target) *Transport {
		claude := pool("claude", "http://claude.example", "b-"+t.Name())
		claude.API = "anthropic"
		return &Transport{
			Providers: []*Provider{pool("p", "http://p.example", "a-"+t.Name()), claude},
			Models:    []*ModelRoute{{Match: "*", Split: split, Targets: targets}},
		}
	}
	a, b, c := Target{Provider: "p", Model: "a"}, Target{Provider: "p", Model: "b"}, Target{Provider: "claude"}
	mixed := line([]int{9, 1}, a, c)
	if err := mixed.Provision(ctx); err == nil || !strings.Contains(err.Error(), "p/a speaks openai and claude speaks anthropic") {
		t.Errorf("a split between families: %v", err)
	}
	if err := mixed.Cleanup(); err != nil {
		t.Error(err)
	}
	tr := provision(t, line([]int{9, 1}, a, b, c))
	for family, chain := range tr.routes.lines[0].chains {
		if got, want := chain.split != nil, family.Name == "openai"; got != want {
			t.Errorf("%s is split: %t", family.Name, got)
		}
	}
}

func TestRefusedSplits(t *testing.T) {
	a, b := Target{Provider: "p", Model: "a"}, Target{Provider: "p", Model: "b"}
	for says, line := range map[string]ModelRoute{
		"1 weights for 2 targets":       {Split: []int{1}, Targets: []Target{a, b}},
		"3 weights for 2 targets":       {Split: []int{1, 1, 1}, Targets: []Target{a, b}},
		"whole number up to":            {Split: []int{1, -1}, Targets: []Target{a, b}},
		"up to 1000000":                 {Split: []int{1, 1_000_001}, Targets: []Target{a, b}},
		"must not be 0":                 {Split: []int{0, 1}, Targets: []Target{a, b}},
		"p/a has two shares":            {Split: []int{1, 1}, Targets: []Target{a, a}},
		"none without a split":          {Canary: Canary{MinCalls: 1}, Targets: []Target{a, b}},
		"error_margin: must be a share": {Split: []int{1, 1}, Canary: Canary{ErrorMargin: 5}, Targets: []Target{a, b}},
		"min_calls":                     {Split: []int{1, 1}, Canary: Canary{MinCalls: -1}, Targets: []Target{a, b}},
		"first_token_margin: must be":   {Split: []int{1, 1}, Canary: Canary{FirstTokenMargin: 1e300}, Targets: []Target{a, b}},
		"to 30 days":                    {Split: []int{1, 1}, Canary: Canary{Window: math.MaxInt64}, Targets: []Target{a, b}},
		"from a second":                 {Split: []int{1, 1}, Canary: Canary{Rest: 1}, Targets: []Target{a, b}},
	} {
		line.Match = "*"
		if err := line.validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: got %v, want one that says %q", line, err, says)
		}
	}
}
