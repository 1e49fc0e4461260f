// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built Caddy as its users meet it: a process with a
// Caddyfile, over real sockets, with a simulated provider behind it.
package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/process"
)

// binary is the Caddy under test.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if testing.Short() {
		fmt.Println("e2e: these tests start servers; -short leaves them out")
		return 0
	}
	binary = os.Getenv("LLM_CADDY")
	if binary == "" {
		dir, err := os.MkdirTemp("", "caddy-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "caddy")
		if out, err := exec.Command("go", "build", "-o", binary, "../cmd/caddy").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building caddy: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// clientKey is the key of the client "app" in every config here.
const clientKey = "clp-canary-client"

// head begins a config that needs no global options of its own.
const head = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
}
`

// hash returns the hash of a client's key, as configs have it.
func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// fingerprint is what default key ids and the simulator's stats call a secret.
func fingerprint(secret string) string { return hash(secret)[len("sha256:"):][:8] }

// gateway is a running Caddy.
type gateway struct {
	// url, sim and admin are the base URLs of the gateway, of the simulator
	// behind it, and of Caddy's admin API.
	url, sim, admin string
	*process.Process
}

// start runs Caddy with a Caddyfile, in which GATEWAY, SIM and ADMIN stand for
// ports and CLIENT for the hash of clientKey. It returns once Caddy serves.
func start(t *testing.T, caddyfile string, env ...string) *gateway {
	t.Helper()
	ports, err := process.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	config := expand(caddyfile, ports)
	path := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gateway{
		url:   "http://127.0.0.1:" + ports[0],
		sim:   "http://127.0.0.1:" + ports[1],
		admin: "http://127.0.0.1:" + ports[2],
	}
	cmd := exec.Command(binary, "run", "--config", path, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	cmd.Env = append(cmd.Env, env...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if g.Process, err = process.Start(ctx, cmd, filepath.Join(t.TempDir(), "log"), process.Says("serving initial configuration")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Stop()
		for _, word := range []string{"panic", "DATA RACE"} {
			if at := strings.Index(g.Output(), word); at >= 0 {
				t.Errorf("Caddy's log says …%.3000s", g.Output()[max(0, at-100):])
			}
		}
		if t.Failed() {
			t.Logf("Caddy's log ends:\n%s", g.LastWords())
		}
	})
	return g
}

func expand(caddyfile string, ports []string) string {
	return strings.NewReplacer("GATEWAY", ports[0], "SIM", ports[1], "ADMIN", ports[2], "CLIENT", hash(clientKey)).Replace(caddyfile)
}

// await waits until the log holds a text.
func (g *gateway) await(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Await(ctx, process.Says(text)); err != nil {
		t.Fatalf("the log does not come to say %q: %v", text, err)
	}
}

// calls returns the fields of the log lines about whole calls.
func (g *gateway) calls(t *testing.T) []map[string]any {
	t.Helper()
	var calls []map[string]any
	for line := range strings.Lines(g.Output()) {
		if !strings.Contains(line, `"msg":"call"`) || !strings.HasSuffix(line, "\n") {
			continue // the last line may be half written
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("reading the log line %s: %v", line, err)
		}
		calls = append(calls, fields)
	}
	return calls
}

// awaitCalls waits until the log tells of n calls.
func (g *gateway) awaitCalls(t *testing.T, n int) []map[string]any {
	t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if calls := g.calls(t); len(calls) >= n {
			return calls
		}
		time.Sleep(20 * time.Millisecond) // another process writes the log
	}
	t.Fatalf("the log does not tell of %d calls", n)
	return nil
}

const chatBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"Tell me a story"}]}`
const chatStreamBody = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Tell me a story"}]}`

// newRequest makes a call to the gateway with the client's key.
func (g *gateway) newRequest(t *testing.T, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+clientKey)
	req.Header.Set("Content-Type", "application/json")
	return req
}

// do makes a call and returns the status and the whole answer.
func (g *gateway) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	res, err := insist(http.DefaultClient, func() *http.Request { return g.newRequest(t, method, path, body) })
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, res)
}

// insist makes a call again if it got no answer at all, as SDKs do. When a
// config is loaded, the servers of the one before go on taking connections for
// a moment, and close those whose first request comes too late.
func insist(client *http.Client, request func() *http.Request) (res *http.Response, err error) {
	for range 3 {
		if res, err = client.Do(request()); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return res, err
		}
	}
	return nil, err
}

func readAll(t *testing.T, res *http.Response) (int, string) {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return res.StatusCode, string(text)
}

// asked returns how often the simulator was asked, by key.
func (g *gateway) asked(t *testing.T) map[string]int {
	t.Helper()
	res, err := http.Get(g.sim + "/simulator/stats")
	if err != nil {
		t.Fatal(err)
	}
	_, text := readAll(t, res)
	var stats struct{ Keys map[string]int }
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		t.Fatal(err)
	}
	return stats.Keys
}
