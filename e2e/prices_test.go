// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const prices = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			limit cost 0.0005 1h
		}
		price gpt-4o {
			input 2.50
			output 10
		}
		prices PRICES
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`

func writePrices(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// costOf returns what an answer's tokens cost, at prices for a million each.
func costOf(t *testing.T, text string, input, output float64) float64 {
	t.Helper()
	var body struct {
		Usage struct {
			Input  float64 `json:"prompt_tokens"`
			Output float64 `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil || body.Usage.Output == 0 {
		t.Fatalf("no usage in %s", text)
	}
	return (body.Usage.Input*input + body.Usage.Output*output) / 1e6
}

// What a call costs is worked out from the config, or from a file that may
// change. What has no price is said to be unknown.
func TestCallsHaveACost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	writePrices(t, path, `{"gpt-listed":{"litellm_provider":"openai","input_cost_per_token":1e-06,"output_cost_per_token":4e-06}}`)
	g := start(t, strings.NewReplacer("PRICES", path, "limit cost 0.0005 1h", "limit cost 5 1h").Replace(prices))
	calls := 0
	check := func(model string, input, output float64) {
		t.Helper()
		status, text := g.do(t, "POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", model, 1))
		if status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		calls++
		log := g.awaitCalls(t, calls)[calls-1]
		cost, stated := log["llm_cost"].(float64)
		unknown, _ := log["llm_cost_unknown"].(bool)
		if input == 0 {
			if stated || !unknown {
				t.Errorf("%s: cost %v, unknown %t", model, cost, unknown)
			}
			return
		}
		if want := costOf(t, text, input, output); math.Abs(cost-want) > 1e-9 || unknown {
			t.Errorf("%s: cost %v, unknown %t; want %v", model, cost, unknown, want)
		}
	}
	check("gpt-4o", 2.5, 10)
	check("gpt-listed", 1, 4)
	check("gpt-unheard-of", 0, 0)

	writePrices(t, path, `{"gpt-unheard-of":{"input_cost_per_token":2e-06,"output_cost_per_token":8e-06},"odd":{"input_cost_per_token":-1}}`)
	g.await(t, "the file of prices has been read again")
	check("gpt-unheard-of", 2, 8)
	check("gpt-listed", 0, 0)

	writePrices(t, path, `{"gpt-listed":`)
	g.await(t, "the file of prices was not taken; what it said before holds")
	check("gpt-unheard-of", 2, 8)
}

// A client's limit in money holds by what calls cost, and what is under way is
// reserved.
func TestCostQuota(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	writePrices(t, path, `{"gpt-listed":{"input_cost_per_token":1e-06,"output_cost_per_token":4e-06}}`)
	g := start(t, strings.Replace(prices, "PRICES", path, 1))
	body := strings.Replace(chatBody, `"model"`, `"max_tokens":10,"model"`, 1)
	spent := 0.0
	for calls := 0; ; calls++ {
		status, text := g.do(t, "POST", "/v1/chat/completions", body)
		if status == 429 {
			if !strings.Contains(text, "quota used up (cost per 1h)") {
				t.Errorf("got %s", text)
			}
			break
		}
		if spent += costOf(t, text, 2.5, 10); calls > 100 {
			t.Fatal("never refused")
		}
	}
	if spent > 0.0005 || spent < 0.0002 {
		t.Errorf("%v dollars were let through", spent)
	}
}
