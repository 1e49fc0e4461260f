// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"sync"
	"sync/atomic"
	"testing"
)

const threeKeys = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai http://127.0.0.1:SIM {
			key sim-limited {
				id limited
			}
			key sim-invalid {
				id invalid
			}
			key sim-good {
				id good
			}
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-limited rate_limited 600s
		key sim-good
	}
}
`

// With three keys of which one is limited and one rejected, a thousand calls
// succeed, and the bad keys are asked only by the calls that could not yet
// know.
func TestThousandCallsOverAFailingPool(t *testing.T) {
	g := start(t, threeKeys)
	const workers, calls = 10, 1000
	var failed atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range calls / workers {
				body := chatBody
				if (worker+i)%2 == 0 {
					body = chatStreamBody
				}
				if status, _ := g.do(t, "POST", "/v1/chat/completions", body); status != 200 {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d calls failed", n, calls)
	}
	asked := g.asked(t)
	t.Logf("asked: limited %d, invalid %d, good %d", asked[fingerprint("sim-limited")], asked[fingerprint("sim-invalid")], asked[fingerprint("sim-good")])
	// All workers may meet a key before the first of them has learned.
	if n := asked[fingerprint("sim-limited")]; n < 1 || n > workers {
		t.Errorf("the limited key was asked %d times, want 1 to %d", n, workers)
	}
	// A rejected key rests for 30 s at first, and is probed by one call then.
	if n := asked[fingerprint("sim-invalid")]; n < 1 || n > workers+3 {
		t.Errorf("the rejected key was asked %d times, want 1 to %d", n, workers+3)
	}
	if n := asked[fingerprint("sim-good")]; n != calls {
		t.Errorf("the good key was asked %d times, want %d", n, calls)
	}
	for _, call := range g.awaitCalls(t, calls) {
		if call["llm_outcome"] != "ok" || call["llm_key"] != "good" || call["llm_client"] != "app" {
			t.Fatalf("the log says %v", call)
		}
	}
}
