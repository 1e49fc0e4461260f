// SPDX-License-Identifier: Apache-2.0

// Package gatewaytest runs a Caddy with the plugin inside a test: for packages
// that are not in the ordinary build.
package gatewaytest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed83435595/caddy-llm-proxy"
	"github.com/seed83435595/caddy-llm-proxy/internal/process"
)

// Gateway is a running Caddy. There can be one at a time.
type Gateway struct {
	// URL is where it serves.
	URL string
	log string
}

// Start runs Caddy with a block of llm_proxy and whatever else stands in its
// site, and stops it when the test ends.
func Start(t *testing.T, site string) *Gateway {
	t.Helper()
	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{URL: "http://127.0.0.1:" + ports[0], log: filepath.Join(t.TempDir(), "log")}
	config := adapt(t, "{\nadmin off\npersist_config off\ndebug\nlog {\noutput file "+g.log+"\n}\n}\n"+g.URL+" {\nlog\n"+site+"\n}\n")
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", g.Log(t))
		}
	})
	return g
}

// Log returns all that Caddy has logged.
func (g *Gateway) Log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func adapt(t *testing.T, config string) []byte {
	t.Helper()
	result, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting\n%s: %v", config, err)
	}
	return result
}

// CheckSnippets adapts and loads the Caddyfiles of a page of documentation that
// are marked with a word: those that an ordinary build does not understand.
func CheckSnippets(t *testing.T, page, mark string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?s)```caddyfile "+mark+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(snippets) == 0 {
		t.Fatalf("%s has no snippet that is marked %s", page, mark)
	}
	for _, snippet := range snippets {
		var config caddy.Config
		site := ":8080 {\n\t" + strings.ReplaceAll(strings.TrimSuffix(snippet[1], "\n"), "\n", "\n\t") + "\n}\n"
		if err := caddy.StrictUnmarshalJSON(adapt(t, site), &config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&config); err != nil {
			t.Errorf("loading\n%s: %v", snippet[1], err)
		}
	}
}
