// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/logging"
)

// A file that cannot be written to is refused when the ledger is opened, and
// not only when the first record comes; and to find that out changes nothing.
func TestAFileThatCannotBeWrittenToIsRefused(t *testing.T) {
	dir := t.TempDir()
	here := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(here("calls.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(here("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	cases := map[string]string{
		"calls.jsonl":          "",
		"new.jsonl":            "",
		"not/there/yet.jsonl":  "",
		"folder":               "it is a folder",
		"calls.jsonl/a":        "not a directory",
		"calls.jsonl/a/b/c":    "not a directory",
		"folder/../new2.jsonl": "",
	}
	if runtime.GOOS == "windows" {
		cases["calls.jsonl/a"], cases["calls.jsonl/a/b/c"] = "is no folder", "is no folder"
	}
	for name, want := range cases {
		checkOpen(t, here(name), want)
	}
	if after := listing(t, dir); !slices.Equal(before, after) {
		t.Errorf("there were %v, and now there are %v", before, after)
	}
}

// The modes of files and folders hold, but not for root, whom only the file
// system itself stops.
func TestAFileThatMayNotBeMadeIsRefused(t *testing.T) {
	if runtime.GOOS == "linux" {
		checkOpen(t, "/proc/calls.jsonl", "cannot be written to")
		checkOpen(t, "/proc/not/there/yet.jsonl", "cannot be written to")
	}
	if os.Geteuid() <= 0 {
		return
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "calls.jsonl")
	if err := os.WriteFile(name, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	checkOpen(t, name, "permission denied")
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	checkOpen(t, filepath.Join(dir, "new.jsonl"), "permission denied")
	if err := os.Chmod(dir, 0o700); err != nil { // so that it can be removed
		t.Fatal(err)
	}
}

// checkOpen opens a ledger. want is what the error says; "" is none.
func checkOpen(t *testing.T, name, want string) {
	t.Helper()
	_, err := (&File{FileWriter: logging.FileWriter{Filename: name}}).Open()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name)) {
		t.Errorf("%s: got %v, want %q", name, err, want)
	}
}

// listing returns all that lies in a folder, and when files were changed.
func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			path += " " + info.ModTime().String()
		}
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
