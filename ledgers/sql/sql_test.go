// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
	"github.com/seed83435595/caddy-llm-proxy/internal/postgrestest"
)

func provision(t *testing.T, config string) *SQL {
	t.Helper()
	s := new(SQL)
	if err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(config)); err != nil {
		t.Fatal(err)
	}
	if err := s.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// everywhere runs a test with a database of each kind.
func everywhere(t *testing.T, test func(t *testing.T, driver, source string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite", filepath.Join(t.TempDir(), "calls.db")) })
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short starts no servers")
		}
		test(t, "postgres", postgrestest.Start(t))
	})
}

func TestRowsAreKeptOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, driver, source string) {
		s := provision(t, "sql "+driver+" "+source+" {\n\ttable calls\n}")
		cost := 0.25
		records := []*ledger.Record{
			{
				Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), ID: "1", Client: "o'neill", Operation: "openai.chat", Model: "m",
				Stream: true, Provider: "p", Key: "k", Attempts: []string{"j:rate_limited:1", "k:ok:2"}, Outcome: "ok", Status: 200,
				Usage: &ledger.Usage{Input: 10, Output: 20, CacheRead: 5}, Cost: &cost, PerTokenMS: 1.5, DurationMS: 12.5, Events: 3,
			},
			{Time: time.Now(), ID: "2", Outcome: "refused", Status: 401},
		}
		// What is written again after a failure is there but once.
		for range 2 {
			write(t, s, records...)
		}
		db := open(t, s)
		var rows int
		query(t, db, "SELECT count(*) FROM calls", &rows)
		var client, attempts string
		var input, cache int64
		var dollars, perToken float64
		var stream bool
		query(t, db, "SELECT client, attempts, input_tokens, cache_read_tokens, cost_usd, per_token_ms, stream FROM calls WHERE id = '1'", &client, &attempts, &input, &cache, &dollars, &perToken, &stream)
		if rows != 2 || client != "o'neill" || attempts != "j:rate_limited:1,k:ok:2" || input != 10 || cache != 5 || dollars != 0.25 || perToken != 1.5 || !stream {
			t.Errorf("got %d rows, the first being %s %s %d %d %g %v", rows, client, attempts, input, cache, dollars, stream)
		}
		var unknown int
		query(t, db, "SELECT count(*) FROM calls WHERE id = '2' AND cost_usd IS NULL AND input_tokens IS NULL AND client IS NULL", &unknown)
		if unknown != 1 {
			t.Error("what is not known is not null")
		}
	})
}

func TestOldRowsAreForgotten(t *testing.T) {
	everywhere(t, func(t *testing.T, driver, source string) {
		s := provision(t, "sql "+driver+" "+source+" {\n\tretention 1h\n}")
		write(t, s, &ledger.Record{ID: "old", Time: time.Now().Add(-2 * time.Hour), Outcome: "ok"}, &ledger.Record{ID: "new", Time: time.Now(), Outcome: "ok"})
		write(t, s, &ledger.Record{ID: "newer", Time: time.Now(), Outcome: "ok"})
		var left int
		query(t, open(t, s), "SELECT count(*) FROM llm_calls WHERE id IN ('new', 'newer')", &left)
		var all int
		query(t, open(t, s), "SELECT count(*) FROM llm_calls", &all)
		if left != 2 || all != 2 {
			t.Errorf("%d rows are left, %d of them new", all, left)
		}
	})
}

// A table of an earlier version gets the columns that it lacks, and keeps its
// rows.
func TestOldTableGetsNewColumns(t *testing.T) {
	everywhere(t, func(t *testing.T, driver, source string) {
		s := provision(t, "sql "+driver+" "+source)
		db := open(t, s)
		old := strings.Replace(s.dialect.create("llm_calls"), ", per_token_ms "+s.dialect.real, "", 1)
		for _, statement := range []string{old, "INSERT INTO llm_calls (id, time, stream, outcome) VALUES ('1', '2026-01-02T03:04:05Z', true, 'ok')"} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		write(t, s, &ledger.Record{ID: "2", Time: time.Now(), Outcome: "ok", PerTokenMS: 1.5})
		write(t, s, &ledger.Record{ID: "3", Time: time.Now(), Outcome: "ok"})
		var rows, withColumn int
		query(t, db, "SELECT count(*), count(per_token_ms) FROM llm_calls", &rows, &withColumn)
		if rows != 3 || withColumn != 1 {
			t.Errorf("there are %d rows, %d with the new column", rows, withColumn)
		}
	})
}

// What a database will never take costs no other record its place.
func TestImpossibleRecordIsLeftOut(t *testing.T) {
	everywhere(t, func(t *testing.T, driver, source string) {
		s := provision(t, "sql "+driver+" "+source)
		db := open(t, s)
		if _, err := db.Exec(strings.Replace(s.dialect.create("llm_calls"), "outcome TEXT NOT NULL", "outcome TEXT NOT NULL CHECK (outcome <> '')", 1)); err != nil {
			t.Fatal(err)
		}
		sink, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, lost := ledger.NewWriter(sink, zap.NewNop()), ledger.Lost()
		impossible := []*ledger.Record{{ID: "none"}}
		if driver == "postgres" {
			impossible = append(impossible, &ledger.Record{ID: "zero", Outcome: "ok", Model: "a\x00b"}, &ledger.Record{ID: "half", Outcome: "ok", Finish: "\xe4"})
		}
		w.Write(&ledger.Record{ID: "1", Outcome: "ok"})
		for _, record := range impossible {
			w.Write(record)
		}
		w.Write(&ledger.Record{ID: "2", Outcome: "ok"})
		w.Release()
		<-w.Done()
		var rows int
		query(t, db, "SELECT count(*) FROM llm_calls WHERE id IN ('1', '2')", &rows)
		if lost = ledger.Lost() - lost; rows != 2 || lost != uint64(len(impossible)) {
			t.Errorf("%d rows were kept, %d records lost", rows, lost)
		}
	})
}

// A password that has changed makes another ledger, and nothing else does.
func TestNameTellsWhatPlaceholdersStandFor(t *testing.T) {
	name := func(password string) string {
		t.Setenv("LLM_TEST_SQL_PASSWORD", password)
		text, err := provision(t, "sql postgres postgres://u:{env.LLM_TEST_SQL_PASSWORD}@127.0.0.1/llm").Name()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if again := name("a"); name("a") != again || again == name("b") {
		t.Errorf("got %s and %s", name("a"), name("b"))
	}
}

func TestReferenceListsTheColumns(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("| columns | type |"))
	for _, column := range dialects["sqlite"].columns() {
		if !bytes.Contains(text, []byte("`"+column[0]+"`")) {
			t.Errorf("the reference does not list %s", column[0])
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for config, want := range map[string]string{
		"sql oracle x":                                 "unknown",
		"sql sqlite":                                   "wants a driver",
		"sql sqlite {\n}":                              "wants a driver",
		"sql sqlite x {\n\ttable a-b\n}":               "letters, digits",
		"sql sqlite x {\n\tretention never\n}":         "no duration",
		"sql sqlite x {\n\ttable a\n\ttable b\n}":      "already specified",
		"sql sqlite x {\n\tvolume 11\n}":               "unrecognized option",
		"sql postgres {env.LLM_TEST_NO_SUCH_VARIABLE}": "LLM_TEST_NO_SUCH_VARIABLE",
	} {
		s := new(SQL)
		err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(config))
		if err == nil {
			err = s.Provision(caddy.Context{})
		}
		if err == nil {
			err = s.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want something about %q", config, err, want)
		}
	}
}

func write(t *testing.T, s *SQL, records ...*ledger.Record) {
	t.Helper()
	sink, err := s.Open()
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

func open(t *testing.T, s *SQL) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.dialect.driver, s.dialect.source(s.source))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func query(t *testing.T, db *sql.DB, statement string, into ...any) {
	t.Helper()
	if err := db.QueryRow(statement).Scan(into...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
