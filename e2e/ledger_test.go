// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

const withLedgers = head + `
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		ledger file {$LEDGER} {
			roll_size 1MiB
			roll_keep 3
		}
		ledger redis {$REDIS}
		ledger log
		provider openai http://127.0.0.1:SIM {
			key sim-limited
			key sim-good
		}
	}
}
` + limitedSimulator

// limitedSimulator is a provider with one key that is limited.
const limitedSimulator = `
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-limited rate_limited 20s
		key sim-good
	}
}
`

type ledgerLine struct {
	ID, Client, Operation, Model, Provider, Outcome string
	Stream                                          bool
	Attempts                                        []string
	Status                                          int
	Usage                                           struct{ Input, Output int }
}

// ledgerLines returns the records in a file; one that is not whole may be the
// last only.
func ledgerLines(t *testing.T, name string) []ledgerLine {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var lines []ledgerLine
	for line := range strings.Lines(string(text)) {
		var record ledgerLine
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			if strings.HasSuffix(line, "\n") {
				t.Fatalf("a line is broken: %s", line)
			}
			continue
		}
		lines = append(lines, record)
	}
	return lines
}

func awaitLines(t *testing.T, name string, n int) []ledgerLine {
	t.Helper()
	for range 500 {
		if lines := ledgerLines(t, name); len(lines) >= n {
			return lines
		}
		time.Sleep(20 * time.Millisecond) // another process writes the file
	}
	t.Fatalf("%d records are kept, want %d", len(ledgerLines(t, name)), n)
	return nil
}

// Each call of a client is written down once, in every ledger, with who called,
// what it took and which keys were asked, and nothing of what was said.
func TestLedgersKeepEachCallOnce(t *testing.T) {
	server := redistest.Start(t)
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	g := start(t, withLedgers, "LEDGER="+name, "REDIS=redis://"+server.Address)
	req := g.newRequest(t, http.MethodPost, "/v1/chat/completions", chatBody)
	req.Header.Set("Authorization", "Bearer wrong")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, res)
	const calls = 20
	for i := range calls {
		body := chatBody
		if i%2 == 1 {
			body = chatStreamBody
		}
		if status, text := g.do(t, http.MethodPost, "/v1/chat/completions", body); status != http.StatusOK {
			t.Fatalf("got %d %s", status, text)
		}
	}
	lines := awaitLines(t, name, calls)
	ids := map[string]bool{}
	for i, line := range lines {
		ids[line.ID] = true
		if line.Client != "app" || line.Operation != "openai.chat" || line.Model != "gpt-4o" || line.Stream != (i%2 == 1) ||
			line.Outcome != "ok" || line.Status != 200 || line.Provider != "openai" || line.Usage.Input == 0 && !line.Stream {
			t.Errorf("call %d is written down as %+v", i, line)
		}
	}
	if len(lines) != calls || len(ids) != calls {
		t.Errorf("%d records with %d ids were kept of %d calls", len(lines), len(ids), calls)
	}
	if first := lines[0].Attempts; len(first) != 2 || !strings.Contains(first[0], ":rate_limited:") || !strings.Contains(first[1], ":ok:") {
		t.Errorf("the first call's attempts are %v", first)
	}
	text, _ := os.ReadFile(name)
	for _, word := range []string{"Tell me a story", "sim-good", "sim-limited", clientKey} {
		if strings.Contains(string(text), word) {
			t.Errorf("the ledger holds %q", word)
		}
	}

	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	var length int64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && length < calls; time.Sleep(20 * time.Millisecond) {
		length = client.XLen(context.Background(), "caddy_llm:ledger").Val()
	}
	if length != calls {
		t.Errorf("the stream holds %d records", length)
	}
	g.await(t, `"logger":"llm.ledger","msg":"record"`)
}

// Caddy killed in the midst of its work leaves a file that can be read, and
// goes on with it after the next start. A call that was over for a second is
// in it.
func TestLedgerSurvivesAKill(t *testing.T) {
	config := strings.Replace(strings.Replace(withLedgers, "ledger redis {$REDIS}", "", 1), "ledger log", "", 1)
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	g := start(t, config, "LEDGER="+name)
	if status, text := g.do(t, http.MethodPost, "/v1/chat/completions", chatBody); status != http.StatusOK {
		t.Fatalf("got %d %s", status, text)
	}
	awaitLines(t, name, 1)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				res, err := http.DefaultClient.Do(g.newRequest(t, http.MethodPost, "/v1/chat/completions", chatBody))
				if err != nil {
					return // it is gone
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	awaitLines(t, name, 50)
	g.Kill()
	group.Wait()
	before := len(ledgerLines(t, name))

	g = start(t, config, "LEDGER="+name)
	if status, text := g.do(t, http.MethodPost, "/v1/chat/completions", chatBody); status != http.StatusOK {
		t.Fatalf("got %d %s", status, text)
	}
	awaitLines(t, name, before+1)
}

// A reload under way loses no record, and mixes up none. The provider is a
// process of its own: a reload would close connections to it as they are made,
// for which it would be left alone for a while.
func TestLedgerSurvivesReloads(t *testing.T) {
	provider := start(t, head+limitedSimulator)
	config := strings.NewReplacer("ledger redis {$REDIS}", "", "ledger log", "",
		limitedSimulator, "", "http://127.0.0.1:SIM", provider.sim).Replace(withLedgers)
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	g := start(t, config, "LEDGER="+name)
	res, err := http.Get(g.admin + "/config/")
	if err != nil {
		t.Fatal(err)
	}
	_, running := readAll(t, res)
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	const workers, each = 8, 25
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for answered := 0; answered < each; {
				res, err := once.Do(g.newRequest(t, http.MethodPost, "/v1/chat/completions", chatStreamBody))
				if err != nil {
					continue // a reload closes connections that are just being made
				}
				answered++
				if status, text := readAll(t, res); status != http.StatusOK {
					t.Errorf("got %d %s", status, text)
				}
			}
		})
	}
	for i := range 5 {
		changed := strings.Replace(running, `"id":"app"`, fmt.Sprintf(`"expires":"2099-01-0%d","id":"app"`, i+1), 1)
		res, err := once.Post(g.admin+"/load", "application/json", strings.NewReader(changed))
		if err != nil {
			t.Fatal(err)
		}
		if status, text := readAll(t, res); status != http.StatusOK {
			t.Fatalf("reloading: %d %s", status, text)
		}
	}
	group.Wait()
	lines := awaitLines(t, name, workers*each)
	ids := map[string]bool{}
	for _, line := range lines {
		ids[line.ID] = true
	}
	if len(lines) != len(ids) {
		t.Errorf("%d records with %d ids", len(lines), len(ids))
	}
}
