// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// oddProviders has, beside each odd one, one that is not.
const oddProviders = `:8080 {
	llm_proxy {
		anonymous
		provider groq https://api.groq.com/v1 {
			key {env.HOME}
		}
		provider late http://10.0.0.1 {
			key sk-12345678 {
				expires 2020-01-01
			}
			key sk-23456789 {
				expires 2020-01-02
			}
		}
		provider one-late http://10.0.0.2 {
			key sk-12345678 {
				expires 2020-01-01
			}
			key sk-23456789
		}
		provider more-elsewhere http://10.0.0.3 {
			key sk-12345678 {
				expires 2020-01-01
			}
			keys {env.HOME}
		}
		provider short http://10.0.0.4 {
			key b
		}
		provider openai https://api.openai.com/ {
			keys "sk-12345678 sk-1"
		}
		provider none http://10.0.0.5 {
			key none
		}
		provider anthropic {
			key {env.HOME}
		}
		model a groq late one-late more-elsewhere
		model b openai none
	}
}
`

// What is allowed but comes to nothing is said while the Caddyfile is read,
// with the line; what is as it should be is not.
func TestOddConfigsAreWarnedOf(t *testing.T) {
	const config = `:8080 {
	llm_proxy {
		client late {env.HOME} {
			expires 2020-01-01
		}
		client early {env.HOME}2 {
			expires 2999-01-01
			providers open* nobody
			metadata team search
		}
		provider openai {
			key sk-12345678
		}
		price openai/gpt-4o* {
			input 5
		}
		price opanai/gpt-4o* {
			input 5
		}
		price gpt-4o {
			input 5
		}
		group staff {
			providers opanai openai* *
		}
		metrics_metadata team plan
	}
}
`
	for name, test := range map[string]struct {
		config string
		lines  map[int]string
	}{
		"as it stands": {config, map[int]string{
			4:  "client late: its access ended at 2020-01-01",
			8:  "client early: providers nobody: there is no such provider in the block, which has openai",
			17: "price opanai/gpt-4o*: there is no provider opanai",
			24: "group staff: providers opanai: there is no such provider in the block, which has openai",
			26: "metrics_metadata plan: no client has such metadata",
		}},
		"where models of others are sold": {strings.NewReplacer("provider openai", "provider openrouter", "providers opanai openai* *", "providers *").Replace(config), map[int]string{
			4:  "client late",
			8:  "client early: providers nobody",
			26: "metrics_metadata plan",
		}},
		"providers": {oddProviders, map[int]string{
			4:  "provider groq: base URL https://api.groq.com/v1: groq is known to be at https://api.groq.com/openai/v1",
			11: "provider late: its keys have expired, the last at 2020-01-02",
			28: "provider short: a key of fewer than 8 characters",
			27: "provider short: no 'model' line names it, while others of the API openai are named",
			30: "provider openai: a key of fewer than 8 characters",
		}},
		"where more clients come from elsewhere": {strings.Replace(config, "metrics_metadata", "clients storage\n\t\tmetrics_metadata", 1), map[int]string{
			4:  "client late",
			8:  "client early: providers nobody",
			17: "price opanai",
			24: "group staff",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(path, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(binary, "adapt", "--config", path, "--adapter", "caddyfile").CombinedOutput()
			if err != nil {
				t.Fatalf("%v %s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				var entry struct {
					Level, Msg, File string
					Line             int
				}
				if json.Unmarshal([]byte(line), &entry) != nil || entry.Level != "warn" || entry.File != path {
					continue
				}
				if want, ok := test.lines[entry.Line]; !ok || !strings.Contains(entry.Msg, want) {
					t.Errorf("line %d: got %q, want %q", entry.Line, entry.Msg, want)
				}
				delete(test.lines, entry.Line)
			}
			if len(test.lines) > 0 {
				t.Errorf("no warning of %v in %s", test.lines, out)
			}
		})
	}
}
