// SPDX-License-Identifier: Apache-2.0

package llmproxy_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/seed83435595/caddy-llm-proxy"

// rooms says which rooms each room may import, besides itself. The root and
// what stands beside the plugin (commands, end-to-end tests) may import any.
var rooms = map[string][]string{
	"keypool":     {},
	"credentials": {"keypool"},
	"streaming":   {"keypool", "credentials"},
	"handler":     {"keypool", "credentials", "streaming"},
	"caddyfile":   {"keypool", "streaming", "handler"},
}

// parts are finer rules inside the rooms: what a folder must not import.
var parts = map[string][]string{
	"credentials":         {"github.com/caddyserver/", "go.uber.org/zap"},
	"keypool":             {"github.com/caddyserver/", "github.com/redis/", "go.uber.org/zap"},
	"keypool/shared":      {"github.com/caddyserver/", "go.uber.org/zap"},
	"streaming":           {modulePath + "/credentials/"},
	"streaming/jsonscan":  {"github.com/", "net/http"},
	"streaming/sse":       {"github.com/", "net/http"},
	"streaming/websocket": {"github.com/"},
	"streaming/wire":      {"github.com/caddyserver/", "go.uber.org/zap"},
}

// Imports run one way: caddyfile, handler, streaming, credentials, keypool. The root holds
// no code and is imported by nothing but what builds a Caddy.
func TestImportsRunOneWay(t *testing.T) {
	for file, imports := range importsOf(t) {
		folder := path.Dir(file)
		room, _, _ := strings.Cut(folder, "/")
		allowed, isRoom := rooms[room]
		isTest := strings.HasSuffix(file, "_test.go")
		for _, imported := range imports {
			if isRoom && !isTest && !allowedImport(room, allowed, imported) {
				t.Errorf("%s imports %s: %s may import only %v", file, imported, room, allowed)
			}
			for _, forbidden := range parts[folder] {
				if !isTest && strings.HasPrefix(imported, forbidden) {
					t.Errorf("%s imports %s: %s knows nothing of it", file, imported, folder)
				}
			}
		}
	}
}

// allowedImport reports whether a room may import what is imported.
func allowedImport(room string, allowed []string, imported string) bool {
	if imported == modulePath {
		return false
	}
	ours, isOurs := strings.CutPrefix(imported, modulePath+"/")
	if !isOurs {
		return true
	}
	target, _, _ := strings.Cut(ours, "/")
	return target == room || slices.Contains(allowed, target)
}

// importsOf returns the imports of every Go file, by its path.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && name != ".") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			files[filepath.ToSlash(name)] = append(files[filepath.ToSlash(name)], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range rooms {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(file string) bool { return strings.HasPrefix(file, room+"/") }) {
			t.Fatalf("no files of %s were found", room)
		}
	}
	return files
}
