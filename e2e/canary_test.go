// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const sickCanary = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		model gpt-4o openai openai/next {
			split 50 50
			canary {
				rest 3s
				window 2s
			}
		}
		breaker {
			failures 1000
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		model next error times 3
	}
}
`

// A canary that fails is withdrawn after a few attempts. No call suffers, and
// when it has healed it serves its share again.
func TestSickCanaryIsWithdrawnAndHeals(t *testing.T) {
	g := start(t, sickCanary)
	call := func() bool {
		res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", chatStreamBody))
		if err != nil {
			t.Fatal(err)
		}
		status, text := readAll(t, res)
		if status != 200 || !strings.Contains(text, "[DONE]") {
			t.Fatalf("got %d %s", status, text)
		}
		return strings.Contains(text, `"model":"next"`)
	}
	for range 20 {
		if call() {
			t.Error("the canary serves although it must be withdrawn")
		}
	}
	g.await(t, "canary withdrawn")
	deadline := time.Now().Add(20 * time.Second)
	for served := 0; served < 10; {
		if time.Now().After(deadline) {
			t.Fatal("the canary does not come back")
		}
		if call() {
			served++
		}
	}
	log := g.Output()
	if n := strings.Count(log, "canary withdrawn"); n != 1 {
		t.Errorf("the log says %d times that the canary is withdrawn", n)
	}
	if n := strings.Count(log, "canary back"); n != 1 {
		t.Errorf("the log says %d times that the canary is back", n)
	}
}
