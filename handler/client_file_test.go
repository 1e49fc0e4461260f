// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
)

// clientsFile writes a file of clients, and its later contents each with a
// time of its own.
type clientsFile struct {
	t    *testing.T
	path string
	age  time.Duration
}

func (f *clientsFile) write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.age += time.Second
	when := time.Now().Add(f.age)
	if err := os.Chtimes(f.path, when, when); err != nil {
		f.t.Fatal(err)
	}
}

func entry(id, key string) string {
	return fmt.Sprintf(`{"id":%q,"secrets":[%q]}`, id, auth.HashSecret(key).String())
}

// What names a file or an issuer may come from the environment, as elsewhere.
func TestPlaceholdersNameFilesAndIssuers(t *testing.T) {
	dir := t.TempDir()
	issuer := newIssuer(t, "https://id.example")
	token, keySet := issuer.sign("alice", ""), issuer.keySet
	for name, text := range map[string]string{
		"clients.json": `{"clients":[` + entry("a", "key-a") + `]}`, "jwks.json": keySet, "prices.json": `{"m":{"input_cost_per_token":1e-6}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("LLM_TEST_FOLDER", dir)
	t.Setenv("LLM_TEST_ISSUER", "https://id.example")
	t.Setenv("LLM_TEST_AUDIENCE", "llm")
	h := newHandler(t, &Handler{
		Callers:    Callers{ClientsFile: "{env.LLM_TEST_FOLDER}/clients.json", JWT: []*JWT{{JWKS: "{env.LLM_TEST_FOLDER}/jwks.json", Issuer: "{env.LLM_TEST_ISSUER}", Audience: []string{"{env.LLM_TEST_AUDIENCE}"}}}},
		PricesFile: "{env.LLM_TEST_FOLDER}/prices.json",
	})
	checkPassed(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer key-a"))
	checkPassed(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+token))
	if h.prices.Load().Empty() {
		t.Error("there are no prices")
	}
}

// The clients of a file come and go with it. A file that is broken, or has
// clients that could not be told apart, changes nothing and is reported once.
func TestClientsFile(t *testing.T) {
	f := &clientsFile{t: t, path: filepath.Join(t.TempDir(), "clients.json")}
	f.write(`{"clients":[` + entry("a", "key-a") + `]}`)
	h := newHandler(t, &Handler{Callers: Callers{ClientsFile: f.path, Clients: []*Client{newClient(t)}}})
	knows := func(key string) bool {
		_, passed, _ := serve(h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+key))
		return passed
	}
	if !knows("key-a") || !knows(secret) || knows("key-b") {
		t.Fatal("the wrong clients are known")
	}
	// A watch of its own, so that the test need not wait for the other.
	again := &filewatch.File{Path: f.path, Holds: "clients", Most: maxClientsFile, Take: h.takeClients}
	reread := func(changed bool, says string) {
		t.Helper()
		got, _, err := again.Reread()
		if got != changed || says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("changed %t, error %v; want %t, %q", got, err, changed, says)
		}
		if err != nil && strings.Contains(err.Error(), auth.HashSecret("key-b").String()) {
			t.Errorf("the error shows a hash: %v", err)
		}
	}
	reread(true, "")
	reread(false, "")
	for name, broken := range map[string]string{
		"half":          `{"clients":[`,
		"misspelled":    `{"clients":[{"id":"a","secrets":["sha256:` + zeros + `"],"expire":"2026-01-01"}]}`,
		"two of an id":  `{"clients":[` + entry("x", "key-b") + `,` + entry("x", "key-c") + `]}`,
		"two of a key":  `{"clients":[` + entry("x", "key-b") + `,` + entry("y", "key-b") + `]}`,
		"as configured": `{"clients":[` + entry(t.Name(), "key-b") + `]}`,
		"a key":         `{"clients":[{"id":"x","secrets":["key-b"]}]}`,
		"no key":        `{"clients":[{"id":"x"}]}`,
		"null":          `{"clients":[null]}`,
		"more":          `{"clients":[]} {}`,
	} {
		t.Run(name, func(t *testing.T) {
			f.write(broken)
			reread(false, "clients file")
			reread(false, "")
			if !knows("key-a") || knows("key-b") {
				t.Error("a broken file has changed something")
			}
		})
	}
	f.write(`{"clients":[` + entry("b", "key-b") + `]}`)
	reread(true, "")
	if knows("key-a") || !knows("key-b") || !knows(secret) {
		t.Error("the new clients are not in force")
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	reread(false, "no such file")
	reread(false, "")
	if !knows("key-b") {
		t.Error("without the file its clients are gone")
	}
}

// A config whose file is broken from the beginning is refused.
func TestBrokenClientsFileAtStart(t *testing.T) {
	ctx := newContext(t)
	h := &Handler{Callers: Callers{ClientsFile: filepath.Join(t.TempDir(), "none.json")}}
	if err := h.Provision(ctx); err == nil {
		t.Error("accepted")
	}
	if err := h.Cleanup(); err != nil {
		t.Error(err)
	}
}

// A handler that has ended still knows its clients: there may be calls in
// flight.
func TestClientsOutliveTheWatch(t *testing.T) {
	f := &clientsFile{t: t, path: filepath.Join(t.TempDir(), "clients.json")}
	f.write(`{"clients":[]}`)
	ctx := newContext(t)
	h := &Handler{Callers: Callers{ClientsFile: f.path}}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.Cleanup(); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, h, request("/v1/chat/completions", chat), http.StatusUnauthorized, "invalid_api_key")
}

// What a hundred thousand clients take: to load, to keep, to find.
func BenchmarkHundredThousandClients(b *testing.B) {
	const n = 100_000
	var text strings.Builder
	text.WriteString(`{"clients":[`)
	for i := range n {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(entry(fmt.Sprintf("client-%d", i), fmt.Sprintf("key-%d", i)))
	}
	text.WriteString(`]}`)
	path := filepath.Join(b.TempDir(), "clients.json")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	size := float64(text.Len())
	text.Reset()
	load := func(rules ...limits.Rule) *Handler {
		h := new(Handler)
		h.rules = rules
		text, err := os.ReadFile(path)
		if err == nil {
			_, err = h.takeClients(text)
		}
		if err != nil {
			b.Fatal(err)
		}
		return h
	}
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			load()
		}
		b.ReportMetric(size/1e6, "MB-file")
	})
	for name, rules := range map[string][]limits.Rule{"find": nil, "find with limits": {{Kind: limits.Requests, Amount: 1e6}}} {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			h := load(rules...)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := h.find(b.Context(), "key-99999"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/client")
		})
	}
}
