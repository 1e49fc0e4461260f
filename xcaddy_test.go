// SPDX-License-Identifier: Apache-2.0

package llmproxy_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed83435595/caddy-llm-proxy"
)

// manifest is xcaddy.json: what xcaddy is to build, and what comes of it.
type manifest struct {
	CaddyVersion string `json:"caddy_version"`
	Plugins      []struct {
		ModulePath string `json:"module_path"`
		Version    string `json:"version"`
	} `json:"plugins"`
	Caddy struct {
		Modules    []string `json:"modules"`
		Directives []string `json:"directives"`
	} `json:"caddy"`
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	text, err := os.ReadFile("xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// xcaddy.json asks for the versions that go.mod pins.
func TestManifestAgreesWithGoMod(t *testing.T) {
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := readManifest(t)
	required := []string{"github.com/caddyserver/caddy/v2 " + m.CaddyVersion}
	for _, plugin := range m.Plugins {
		if plugin.ModulePath != modulePath {
			required = append(required, plugin.ModulePath+" "+plugin.Version)
		}
	}
	for _, line := range required {
		if !strings.Contains(string(goMod), "\t"+line+"\n") {
			t.Errorf("go.mod does not require %s", line)
		}
	}
}

// Every module that xcaddy.json names is registered, and every one of ours is
// named there.
func TestManifestNamesTheModules(t *testing.T) {
	m := readManifest(t)
	named := map[string]bool{}
	for _, id := range m.Caddy.Modules {
		named[id] = true
		if _, err := caddy.GetModule(id); err != nil {
			t.Errorf("%s is not registered: %v", id, err)
		}
	}
	for _, id := range caddy.Modules() {
		if strings.Contains(id, "llm") && !named[id] {
			t.Errorf("xcaddy.json does not name %s", id)
		}
	}
}

// Every directive that xcaddy.json names is one.
func TestManifestNamesTheDirectives(t *testing.T) {
	for _, directive := range readManifest(t).Caddy.Directives {
		adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
		_, _, err := adapter.Adapt([]byte(":80 {\n\t"+directive+"\n}\n"), nil)
		if err != nil && strings.Contains(err.Error(), "unrecognized directive") {
			t.Errorf("%s is no directive: %v", directive, err)
		}
	}
}
