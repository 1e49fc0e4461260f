// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/logging"
)

// readLines returns the records in a file, and how many lines are none.
func readLines(t *testing.T, name string) (records []Record, broken int) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var record Record
		if json.Unmarshal(lines.Bytes(), &record) != nil {
			broken++
			continue
		}
		records = append(records, record)
	}
	return records, broken
}

func writeFile(t *testing.T, name string, records ...*Record) {
	t.Helper()
	sink, err := (&File{FileWriter: logging.FileWriter{Filename: name}}).Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Write(context.Background(), records); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFileHoldsALineForEachRecord(t *testing.T) {
	name := filepath.Join(t.TempDir(), "calls", "ledger.jsonl")
	cost := 0.0125
	full := Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), ID: "1", Client: "web", Operation: "openai.chat",
		Model: "gpt", TargetModel: "gpt-1", ModelAnswered: "gpt-1-0", Stream: true, Provider: "p", Key: "k",
		Attempts: []string{"k:ok:12"}, Outcome: "ok", Status: 200, Finish: "end_turn", FinishReason: "stop",
		Usage: &Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4, Reasoning: 5, AudioIn: 6, AudioOut: 7, Estimated: true},
		Cost:  &cost, FirstTokenMS: 1.5, DurationMS: 2.5, Events: 9,
	}
	writeFile(t, name, &full, &Record{ID: "2", Outcome: "refused"})
	writeFile(t, name, &Record{ID: "3", Outcome: "<ok>"})
	records, broken := readLines(t, name)
	if broken != 0 || len(records) != 3 || !reflect.DeepEqual(records[0], full) || records[2].Outcome != "<ok>" {
		t.Errorf("%d lines are broken, the others are %+v", broken, records)
	}
}

// A machine that fails in the midst of a line spoils no other.
func TestATornLineIsEnded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	if err := os.WriteFile(name, []byte(`{"id":"1","outcome":"ok"}`+"\n"+`{"id":"2","outc`), 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, &Record{ID: "3"})
	records, broken := readLines(t, name)
	if broken != 1 || len(records) != 2 || records[1].ID != "3" {
		t.Errorf("%d lines are broken, the others are %+v", broken, records)
	}
}
