// SPDX-License-Identifier: Apache-2.0

package caddyfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// snippet finds a Caddyfile in a Markdown text, and its JSON twin if that
// stands right behind it.
var snippet = regexp.MustCompile("(?s)```caddyfile\n(.*?)```\n(```json\n(.*?)```\n)?")

// TestDocs adapts every Caddyfile in the documentation, and compares it with
// its JSON twin. With UPDATE_GOLDEN=1 the twins are written anew.
func TestDocs(t *testing.T) {
	pages, _ := filepath.Glob("../docs/*/*.md")
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		updated := snippet.ReplaceAllStringFunc(string(text), func(found string) string {
			parts := snippet.FindStringSubmatch(found)
			twin := twinOf(t, page, parts[1])
			if parts[2] == "" {
				return found
			}
			if os.Getenv("UPDATE_GOLDEN") == "" && strings.TrimSpace(parts[3]) != twin {
				t.Errorf("%s: the JSON twin of\n%s\nis\n%s", page, parts[1], twin)
			}
			return "```caddyfile\n" + parts[1] + "```\n```json\n" + twin + "\n```\n"
		})
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(page, []byte(updated), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// twinOf adapts a snippet and returns the handlers it becomes. A snippet that
// is only a directive is put into a site first.
func twinOf(t *testing.T, page, config string) string {
	t.Helper()
	if strings.HasPrefix(config, "llm_") {
		config = ":8080 {\n\t" + strings.ReplaceAll(strings.TrimSuffix(config, "\n"), "\n", "\n\t") + "\n}\n"
	}
	result, err := adapt(config)
	if err != nil {
		t.Fatalf("%s: adapting\n%s: %v", page, config, err)
	}
	var adapted struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct {
						Handle json.RawMessage `json:"handle"`
					} `json:"routes"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(result, &adapted); err != nil {
		t.Fatal(err)
	}
	routes := adapted.Apps.HTTP.Servers["srv0"].Routes
	if len(routes) == 0 {
		t.Fatalf("%s: no route comes out of\n%s", page, config)
	}
	twin, err := json.MarshalIndent(routes[0].Handle, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(twin)
}

// wanted finds the environment variables without which a config does not load,
// and explained those that the comment at its top lists.
var (
	wanted    = regexp.MustCompile(`\{env\.([A-Z0-9_]+)\}`)
	explained = regexp.MustCompile(`(?m)^#   ([A-Z0-9_]+)\b`)
)

// The quick start runs where its ports are taken, and the gateway finds the
// simulated provider there, or the real ones whose address is said.
func TestQuickStartHasOtherPorts(t *testing.T) {
	text, err := os.ReadFile("../examples/quickstart.Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GATEWAY_PORT", "18080")
	t.Setenv("SIM_PORT", "19090")
	t.Setenv("ADMIN_PORT", "12019")
	t.Setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
	result, err := adapt(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for part, times := range map[string]int{
		`":18080"`: 1, `"127.0.0.1:19090"`: 1, `"localhost:12019"`: 1,
		`"base_url": "http://localhost:19090"`: 2, `"base_url": "https://api.openai.com/v1"`: 1, "9090": 3,
	} {
		if got := strings.Count(string(result), part); got != times {
			t.Errorf("%s stands there %d times, want %d:\n%s", part, got, times, result)
		}
	}
}

// TestExamples loads every example, with the secrets in place that its comment
// asks for.
func TestExamples(t *testing.T) {
	examples, err := filepath.Glob("../examples/*.Caddyfile")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	secrets := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(secrets, []byte("sk-ant-1\nsk-ant-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		text, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\n{\n")
		listed := map[string]bool{}
		for _, found := range explained.FindAllStringSubmatch(head, -1) {
			listed[found[1]] = true
			t.Setenv(found[1], "secret-"+found[1])
		}
		for _, found := range wanted.FindAllStringSubmatch(string(text), -1) {
			if !listed[found[1]] {
				t.Errorf("%s wants %s, which its comment does not list", example, found[1])
			}
		}
		config := strings.ReplaceAll(string(text), "/run/secrets/anthropic_keys", secrets)
		result, err := adapt(config)
		if err != nil {
			t.Errorf("%s: adapting: %v", example, err)
			continue
		}
		if err := validate(result); err != nil {
			t.Errorf("%s: loading: %v", example, err)
		}
	}
}
