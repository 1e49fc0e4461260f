// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// troubled is three gateways before a provider with every fault: one that
// breaks off where its clients and providers do, one that holds on, and one
// that takes its time.
const troubled = head + `(pools) {
	client app CLIENT {
		limit concurrent 300
	}
	provider openai http://127.0.0.1:SIM {
		key sim-limited
		key sim-good {
			max_in_flight 300
		}
		transport http {
			keepalive 1s
		}
	}
	provider anthropic http://127.0.0.1:SIM {
		key sim-limited
		key sim-good
		transport http {
			keepalive 1s
		}
	}
	provider gemini http://127.0.0.1:SIM {
		key sim-good
		transport http {
			keepalive 1s
		}
	}
	provider rejecting http://127.0.0.1:SIM {
		key sim-unknown
		transport http {
			keepalive 1s
		}
	}
	model denied-* rejecting anthropic gemini
	model * openai anthropic gemini
}
(impatient) {
	import pools
	timeouts {
		headers 150ms
		first_token 150ms
		idle 100ms
	}
	retry {
		attempts 1
		delay 1ms
		wait_for_key off
	}
}
http://127.0.0.1:GATEWAY {
	llm_proxy /v1* {
		import impatient
	}
	handle_path /holding/* {
		llm_proxy {
			import impatient
			rescue resume
			on_disconnect drain
		}
	}
	handle_path /patient/* {
		llm_proxy {
			import pools
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		delay 1ms
		key sim-good
		key sim-limited rate_limited 20s
		model cut-* cut 3
		model stall-* stall 3
		model reset-* reset
		model silent-* silence
		model garbled-* malformed 2
		model error-* error
		model down-* unavailable
		model full-* overloaded
		model failing-* error_event 3
		model endless-* no_terminator
		model long-* {
			delay 5ms
			chunks 60
		}
	}
}
`

// troubles are the models of that provider, by what becomes of calls to them.
var troubles = []string{
	"plain", "long", "cut", "stall", "reset", "silent", "garbled", "error", "down", "full", "failing", "endless", "denied",
}

// Whatever becomes of calls, and whenever their clients go away, nothing is
// left of them: no goroutine, no connection, no place that they took.
func TestNothingLeaks(t *testing.T) {
	g := start(t, troubled)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	run := func(calls int) (finished int64) {
		var done atomic.Int64
		var next atomic.Int64
		var wg sync.WaitGroup
		for worker := range 64 {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(worker)))
				for n := next.Add(1); n <= int64(calls); n = next.Add(1) {
					if g.trouble(t, client, random, n) {
						done.Add(1)
					}
				}
			})
		}
		wg.Wait()
		client.CloseIdleConnections()
		return done.Load()
	}

	run(300) // what is made once is no leak
	before := g.settled(t, footprint{}, 5*time.Second)
	started := time.Now()
	finished := run(10_000)
	t.Logf("10000 calls in %v, of which %d got a whole answer; before %v", time.Since(started).Round(time.Second), finished, before)
	after := g.settled(t, footprint{before.goroutines + 10, before.files + 5}, 40*time.Second)
	if after.goroutines > before.goroutines+10 || after.files > before.files+5 {
		_, profile := g.send(t, "GET", "/debug/pprof/goroutine?debug=1", "", "")
		t.Errorf("before %v, after %v\n%.6000s", before, after, profile)
	}
	g.checkPlaces(t, client)
}

// trouble makes one of many kinds of calls, and reports whether it got a whole
// answer. One that nothing troubles must, however slow the machine is.
func (g *gateway) trouble(t *testing.T, client *http.Client, random *rand.Rand, n int64) bool {
	// A name of its own lets no breaker keep the fault away.
	model := fmt.Sprintf("%s-%d", troubles[random.IntN(len(troubles))], n)
	path, body := "/v1/chat/completions", `{"model":"`+model+`","stream":STREAM,"messages":[{"role":"user","content":"Hi"}]}`
	stream := random.IntN(3) > 0
	switch random.IntN(4) {
	case 0:
		path, body = "/v1/messages", strings.Replace(body, "{", `{"max_tokens":50,`, 1)
	case 1:
		path, body = "/v1beta/models/"+model+":generateContent", `{"contents":[]}`
		if stream {
			path = "/v1beta/models/" + model + ":streamGenerateContent?alt=sse"
		}
	}
	manner := random.IntN(6)
	untroubled := manner > 2 && (strings.HasPrefix(model, "plain") || strings.HasPrefix(model, "long"))
	switch {
	case untroubled:
		path = "/patient" + path
	case random.IntN(2) == 0:
		path = "/holding" + path
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	req := g.newRequest(t, "POST", path, strings.Replace(body, "STREAM", fmt.Sprint(stream), 1)).WithContext(ctx)
	if manner == 0 {
		// It goes away before there are headers, most likely.
		time.AfterFunc(time.Duration(random.IntN(5_000))*time.Microsecond, leave)
	}
	res, err := client.Do(req)
	if err != nil {
		if untroubled {
			t.Errorf("call %d for %s: %v", n, model, err)
		}
		return false
	}
	defer res.Body.Close()
	switch manner {
	case 1: // It goes away in the middle.
		_, _ = io.ReadFull(res.Body, make([]byte, 1+random.IntN(600)))
		return false
	case 2: // It reads slowly.
		buffer := make([]byte, 200)
		for err == nil {
			_, err = res.Body.Read(buffer)
			time.Sleep(time.Millisecond)
		}
		return errors.Is(err, io.EOF) && res.StatusCode == http.StatusOK
	}
	text, err := io.ReadAll(res.Body)
	whole := err == nil && res.StatusCode == http.StatusOK
	if untroubled && !whole {
		t.Errorf("call %d for %s: %d %.500s, %v", n, model, res.StatusCode, text, err)
	}
	return whole
}

// footprint is what a process holds.
type footprint struct{ goroutines, files int }

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d files", f.goroutines, f.files)
}

// footprint looks at the gateway's process.
func (g *gateway) footprint(t *testing.T) (now footprint) {
	t.Helper()
	_, profile := g.send(t, "GET", "/debug/pprof/goroutine?debug=1", "", "")
	if _, err := fmt.Sscanf(profile, "goroutine profile: total %d", &now.goroutines); err != nil {
		t.Fatalf("reading the profile: %v: %.200s", err, profile)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Pid()))
	if err != nil {
		t.Fatalf("files are counted in /proc, on Linux: %v", err)
	}
	now.files = len(files)
	return now
}

// settled waits until no more than so much is held, for at most some time, and
// returns what is held then: without a goal, the least that was seen.
func (g *gateway) settled(t *testing.T, goal footprint, most time.Duration) footprint {
	t.Helper()
	least := g.footprint(t)
	for until := time.Now().Add(most); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		now := g.footprint(t)
		least = footprint{min(least.goroutines, now.goroutines), min(least.files, now.files)}
		if now.goroutines <= goal.goroutines && now.files <= goal.files {
			return now
		}
	}
	return least
}

// checkPlaces fills all the places that a client has. One that was not given
// back would be missing.
func (g *gateway) checkPlaces(t *testing.T, client *http.Client) {
	t.Helper()
	const places = 300
	var begun, over sync.WaitGroup
	begun.Add(places)
	for range places {
		over.Go(func() {
			res, err := client.Do(g.newRequest(t, "POST", "/patient/v1/chat/completions", `{"model":"long-1","stream":true,"messages":[]}`))
			begun.Done()
			if err != nil {
				t.Errorf("filling the places: %v", err)
				return
			}
			begun.Wait() // a call that has ended would make room for another
			if status, text := readAll(t, res); status != http.StatusOK {
				t.Errorf("a place is missing: %d %s", status, text)
			}
		})
	}
	over.Wait()
}
