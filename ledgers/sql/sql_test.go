// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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

// sources returns where a database of each kind is.
func sources(t *testing.T) map[string]string {
	return map[string]string{
		"sqlite":   filepath.Join(t.TempDir(), "calls.db"),
		"postgres": postgrestest.Start(t),
	}
}

func TestRowsAreKeptOnce(t *testing.T) {
	for driver, source := range sources(t) {
		t.Run(driver, func(t *testing.T) {
			s := provision(t, "sql "+driver+" "+source+" {\n\ttable calls\n}")
			cost := 0.25
			records := []*ledger.Record{
				{
					Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), ID: "1", Client: "o'neill", Operation: "openai.chat", Model: "m",
					Stream: true, Provider: "p", Key: "k", Attempts: []string{"j:rate_limited:1", "k:ok:2"}, Outcome: "ok", Status: 200,
					Usage: &ledger.Usage{Input: 10, Output: 20, CacheRead: 5}, Cost: &cost, DurationMS: 12.5, Events: 3,
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
			var dollars float64
			var stream bool
			query(t, db, "SELECT client, attempts, input_tokens, cache_read_tokens, cost_usd, stream FROM calls WHERE id = '1'", &client, &attempts, &input, &cache, &dollars, &stream)
			if rows != 2 || client != "o'neill" || attempts != "j:rate_limited:1,k:ok:2" || input != 10 || cache != 5 || dollars != 0.25 || !stream {
				t.Errorf("got %d rows, the first being %s %s %d %d %g %v", rows, client, attempts, input, cache, dollars, stream)
			}
			var unknown int
			query(t, db, "SELECT count(*) FROM calls WHERE id = '2' AND cost_usd IS NULL AND input_tokens IS NULL AND client IS NULL", &unknown)
			if unknown != 1 {
				t.Error("what is not known is not null")
			}
		})
	}
}

func TestOldRowsAreForgotten(t *testing.T) {
	for driver, source := range sources(t) {
		t.Run(driver, func(t *testing.T) {
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
}

func TestConfigIsChecked(t *testing.T) {
	for config, want := range map[string]string{
		"sql oracle x":                                 "unknown",
		"sql sqlite":                                   "wants a driver",
		"sql sqlite {\n}":                              "wants a driver",
		"sql sqlite x {\n\ttable a-b\n}":               "letters, digits",
		"sql sqlite x {\n\tretention never\n}":         "not a duration",
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
