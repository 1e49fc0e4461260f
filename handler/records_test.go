// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// withLedger returns a handler with a ledger in a file, and what ends both and
// returns the records.
func withLedger(t *testing.T, h *Handler) (*Handler, func() []ledger.Record) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	h.LedgersRaw = []json.RawMessage{fileLedger(name)}
	newHandler(t, h)
	return h, func() (records []ledger.Record) {
		t.Helper()
		if err := h.Cleanup(); err != nil {
			t.Fatal(err)
		}
		<-h.records.writers[0].Done()
		text, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var record ledger.Record
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatal(err)
			}
			records = append(records, record)
		}
		return records
	}
}

func fileLedger(name string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"sink":"file","filename":%q}`, name))
}

// Whom nobody knows cannot fill the ledger, unless that is asked for.
func TestLedgersKeepNoCallsOfStrangers(t *testing.T) {
	clients := []*Client{{ID: "app", Secrets: []string{auth.HashSecret(secret).String()}, Expires: "2020-01-01"}}
	const wrongKey, noPath, refused, expired = "invalid_api_key", "unknown_path", "missing_model", "expired_api_key"
	for name, test := range map[string]struct {
		handler *Handler
		want    []string
	}{
		"clients":             {&Handler{Callers: Callers{Clients: clients}}, []string{expired}},
		"clients, on request": {&Handler{Callers: Callers{Clients: clients}, LedgerStrangers: true}, []string{wrongKey, wrongKey, noPath, expired}},
		"anonymous":           {&Handler{Anonymous: true}, []string{refused, refused, refused}},
	} {
		t.Run(name, func(t *testing.T) {
			h, end := withLedger(t, test.handler)
			for _, header := range []string{"", "Bearer wrong"} {
				_, _, _ = serve(h, request("/v1/chat/completions", "{}", "Authorization", header))
			}
			_, _, _ = serve(h, request("/nothing", ""))
			_, _, _ = serve(h, request("/v1/chat/completions", "{}"))
			var got []string
			for _, record := range end() {
				got = append(got, record.Code)
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// What clients and providers say is kept as text that every sink can hold.
func TestRecordsHoldPrintableText(t *testing.T) {
	const bad, good = "a\x00b\xe4\xbd\x1b", "a\ufffdb\ufffd\ufffd"
	a := account{call: &streaming.Call{
		Request:     &wire.Request{Operation: new(wire.Operation), Model: bad},
		TargetModel: bad,
		Result:      wire.Result{Model: bad, Finish: bad},
	}}
	for i, got := range []string{a.record().Model, a.record().TargetModel, a.record().ModelAnswered, a.record().Finish} {
		if got != good {
			t.Errorf("text %d: got %q, want %q", i, got, good)
		}
	}
	if got := printable("gpt-4o 模型"); got != "gpt-4o 模型" {
		t.Errorf("got %q", got)
	}
}

// none is a sink that keeps nothing.
type none struct{ ledger.Sink }

func (none) Close() error { return nil }

// A call over an old connection is written down in those ledgers that the new
// config goes on with.
func TestALateCallHoldsTheLedgersThatAreOpen(t *testing.T) {
	var r records
	for range 3 {
		r.writers = append(r.writers, ledger.NewWriter(none{}, zap.NewNop()))
	}
	hold := func() []*ledger.Writer {
		held := r.hold()
		for _, writer := range held {
			writer.Release()
		}
		return held
	}
	if held := hold(); len(held) != 3 {
		t.Errorf("%d ledgers are held, want 3", len(held))
	}
	if allocated := testing.AllocsPerRun(10, func() { hold() }); allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
	r.writers[1].Release()
	if held := hold(); len(held) != 2 || held[0] != r.writers[0] || held[1] != r.writers[2] {
		t.Errorf("%d ledgers are held, want the first and the last", len(held))
	}
	r.writers[0].Release()
	r.writers[2].Release()
	for _, writer := range r.writers {
		<-writer.Done()
	}
	if held := hold(); len(held) != 0 {
		t.Errorf("%d ledgers are held at the end", len(held))
	}
}

// A secret that has changed takes effect with the next config, and nothing
// else makes another ledger of one.
func TestAnotherSecretMakesAnotherLedger(t *testing.T) {
	const variable = "LLM_TEST_LEDGER_SECRET"
	for name, raw := range map[string]string{
		"file":              `{"sink":"file","filename":"{env.` + variable + `}"}`,
		"redis":             `{"sink":"redis","addresses":["127.0.0.1:1"],"password":"{env.` + variable + `}"}`,
		"redis, in its URL": `{"sink":"redis","addresses":["redis://u:{env.` + variable + `}@127.0.0.1:1"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			open := func(value string) *ledger.Writer {
				t.Setenv(variable, value)
				h := newHandler(t, &Handler{Anonymous: true, LedgersRaw: []json.RawMessage{json.RawMessage(raw)}})
				return h.records.writers[0]
			}
			first := open("a")
			if second := open("a"); second != first {
				t.Error("a config that says the same has a ledger of its own")
			}
			if second := open("b"); second == first {
				t.Error("the old secret is in use")
			}
		})
	}
}
