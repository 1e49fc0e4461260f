// SPDX-License-Identifier: Apache-2.0

package caddyfile_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed83435595/caddy-llm-proxy"
)

// onlyLoading are the errors that come only of loading what was adapted: the
// config is right, but not what it refers to, or what stands around it. All others come of adapting and
// name the line.
var onlyLoading = []string{
	"error_clients_file_missing", "error_credentials_incomplete", "error_key_from_unset_variable",
	"error_keys_file_missing", "error_ledger_file_nowhere", "error_prices_file_missing", "error_prices_file_of_something_else",
	"error_proxy_by_hand_active", "error_proxy_by_hand_balancing", "error_proxy_by_hand_passive",
}

// TestAdapt adapts each Caddyfile in testdata/adapt and compares the JSON with
// what stands behind the line of dashes, or checks that the error holds every
// line there. With UPDATE_GOLDEN=1 the JSON is written anew.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("../testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, expected, found := strings.Cut(string(text), "----------\n")
			if !found {
				t.Fatal("no line of ten dashes in the file")
			}
			result, err := adapt(config)
			expected = strings.TrimSpace(expected)
			if expected != "" && !strings.HasPrefix(expected, "{") {
				if name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"); slices.Contains(onlyLoading, name) {
					err = validate(result)
				} else if err != nil && !strings.Contains(err.Error(), ", at Caddyfile:") {
					t.Errorf("the error does not say where: %v", err)
				}
				checkError(t, err, expected)
				return
			}
			if err == nil {
				err = validate(result)
			}
			if err != nil {
				t.Fatal(err)
			}
			if os.Getenv("UPDATE_GOLDEN") != "" {
				golden := config + "----------\n" + string(result) + "\n"
				if err := os.WriteFile(file, []byte(golden), 0o644); err != nil {
					t.Fatal(err)
				}
				expected = string(result)
			}
			if string(result) != expected {
				t.Errorf("adapted JSON differs; got:\n%s\nwant:\n%s", result, expected)
			}
		})
	}
}

// checkError checks an expected error.
func checkError(t *testing.T, err error, expected string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", expected)
	}
	for fragment := range strings.Lines(expected) {
		if fragment = strings.TrimSpace(fragment); !strings.Contains(err.Error(), fragment) {
			t.Errorf("error does not say what it should:\ngot:  %v\nwant: %s", err, fragment)
		}
	}
}

// adapt returns the JSON for a Caddyfile, indented by tabs.
func adapt(config string) ([]byte, error) {
	result, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, result, "", "\t"); err != nil {
		return nil, err
	}
	return pretty.Bytes(), nil
}

// validate provisions a config as 'caddy validate' does.
func validate(config []byte) error {
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		return err
	}
	return caddy.Validate(&cfg)
}
