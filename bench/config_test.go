// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed83435595/caddy-llm-proxy"
)

func TestEveryConfigIsCompleteAndAdapts(t *testing.T) {
	for name, r := range recipes {
		t.Run(name, func(t *testing.T) {
			path, err := r.write(t.TempDir(), map[string]string{"PORT": "1", "ADMIN": "2", "UPSTREAM": "3"})
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "{$") {
				t.Errorf("a placeholder is left in\n%s", text)
			}
			if name == nginx || r.clients > 1000 {
				return
			}
			if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": path}); err != nil {
				t.Error(err)
			}
		})
	}
}
