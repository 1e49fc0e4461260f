// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// families is a gateway for all families. Every pool has a key that is
// limited and one that is rejected beside the good one, and for each family
// there is a provider whose only key is limited.
const families = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		heartbeat 1s
		provider openai http://127.0.0.1:SIM {
			keys sim-limited sim-invalid sim-good
		}
		provider anthropic http://127.0.0.1:SIM {
			keys sim-limited sim-invalid sim-good
		}
		provider gemini http://127.0.0.1:SIM {
			keys sim-limited sim-invalid sim-good
		}
		provider openai-limited http://127.0.0.1:SIM {
			key sim-limited
		}
		provider anthropic-limited http://127.0.0.1:SIM {
			api anthropic
			key sim-limited
		}
		provider gemini-limited http://127.0.0.1:SIM {
			api gemini
			key sim-limited
		}
		model exhausted-* openai-limited anthropic-limited gemini-limited
		model gpt-* openai
		model whisper-* openai
		model claude-* anthropic
		model gemini-* gemini
		model text-embedding-* openai gemini
		model slow-* openai anthropic gemini
		model pausing-* openai anthropic gemini
		model cut-* openai
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
		key sim-limited rate_limited 20s
		model cut-* cut 5
		model slow-* {
			delay 100ms
			chunks 100
		}
		model pausing-* {
			delay 1200ms
			chunks 3
		}
	}
}
`

// The official SDKs do their work through the gateway, and raise their own
// exceptions where it refuses.
func TestOfficialSDKs(t *testing.T) {
	if _, err := os.Stat("sdk/node_modules"); err != nil {
		t.Fatal("the SDKs are not installed: run 'make sdks'")
	}
	g := start(t, families)
	for _, sdk := range []string{"openai", "anthropic", "gemini"} {
		t.Run(sdk, func(t *testing.T) { g.runSDK(t, sdk) })
	}
}

// Their sessions are over TLS only.
func TestSessionsOfOfficialSDKs(t *testing.T) {
	g := start(t, strings.Replace(strings.Replace(families,
		"skip_install_trust", "skip_install_trust\n\thttp_port 0", 1),
		"http://127.0.0.1:GATEWAY {", "https://localhost:GATEWAY {\n\ttls internal", 1))
	g.await(t, "certificate obtained successfully")
	g.url = strings.Replace(g.url, "http://127.0.0.1", "https://localhost", 1)
	g.runSDK(t, "sessions", "NODE_TLS_REJECT_UNAUTHORIZED=0") // the certificate is Caddy's own
	for _, call := range g.awaitCalls(t, 2)[:2] {
		if call["llm_outcome"] != "ok" || call["llm_output_tokens"] != 40.0 || !strings.Contains(fmt.Sprint(call["llm_attempts"]), ":ok:") {
			t.Errorf("the log says %v", call)
		}
	}
}

// runSDK runs the tests of one file against the gateway.
func (g *gateway) runSDK(t *testing.T, file string, env ...string) {
	t.Helper()
	cmd := exec.Command("node", "--test", "--test-reporter=spec", file+".test.mjs")
	cmd.Dir = "sdk"
	cmd.Env = append(append(os.Environ(), "GATEWAY_URL="+g.url, "GATEWAY_KEY="+clientKey), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if !strings.Contains(string(out), "fail 0") || strings.Contains(string(out), "pass 0") {
		t.Fatal("no test was run")
	}
}

// told is a gateway that waits for no key, but tells its clients to.
const told = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		provider anthropic http://127.0.0.1:SIM {
			key sim-good
		}
		retry {
			wait_for_key off
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
		model exhausted-* rate_limited 20s
		model brief-* rate_limited 2s times 1
	}
}
`

// The official Go SDKs put streams together, raise their own error types, and
// wait as long as they are told to. They are a module of their own.
func TestOfficialGoSDKs(t *testing.T) {
	for _, sdk := range []string{"OpenAI", "Anthropic"} {
		t.Run(sdk, func(t *testing.T) {
			g := start(t, told)
			cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^Test"+sdk, ".")
			cmd.Dir = "gosdk"
			cmd.Env = append(os.Environ(), "GATEWAY_URL="+g.url, "GATEWAY_KEY="+clientKey)
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Fatalf("%s: %v", sdk, err)
			}
			if strings.Count(string(out), "--- PASS") < 3 {
				t.Fatal("not all tests were run")
			}
		})
	}
}
