// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// dialect is what the databases differ in.
type dialect struct {
	// driver is the name by which database/sql knows it.
	driver string
	// moment is the type of a time, real that of a number with a fraction.
	moment, real string
	// placeholder is what stands for the n-th value, from 1.
	placeholder func(n int) string
	// source completes what the operator says of where the database is.
	source func(string) string
	// at is how a time is handed over.
	at func(time.Time) any
	// refuses tells whether a statement failed for what it was to insert, and
	// so would fail again.
	refuses func(error) bool
}

var dialects = map[string]dialect{
	"sqlite": {
		driver: "sqlite", moment: "TEXT", real: "REAL",
		placeholder: func(int) string { return "?" },
		// Readers do not keep a write from its turn, nor it them.
		source: func(file string) string {
			separator := "?"
			if strings.Contains(file, "?") {
				separator = "&"
			}
			return file + separator + "_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)"
		},
		// As text, moments sort and compare only if all are as long.
		at: func(t time.Time) any { return t.UTC().Format("2006-01-02T15:04:05.000000Z") },
		refuses: func(err error) bool {
			var failed *sqlite.Error
			return errors.As(err, &failed) && slices.Contains(sqliteRefusals, failed.Code()&0xff)
		},
	},
	"postgres": {
		driver: "pgx", moment: "TIMESTAMPTZ", real: "DOUBLE PRECISION",
		placeholder: func(n int) string { return "$" + strconv.Itoa(n) },
		source:      func(url string) string { return url },
		at:          func(t time.Time) any { return t.UTC() },
		refuses: func(err error) bool {
			var failed *pgconn.PgError
			return errors.As(err, &failed) && len(failed.Code) == 5 && slices.Contains(postgresRefusals, failed.Code[:2])
		},
	},
}

var (
	// sqliteRefusals are the result codes about values: too big, against a
	// constraint, of the wrong type.
	sqliteRefusals = []int{lib.SQLITE_TOOBIG, lib.SQLITE_CONSTRAINT, lib.SQLITE_MISMATCH}
	// postgresRefusals are the classes of SQLSTATE about values: data that are
	// no such data, against a constraint, beyond what a row can hold.
	postgresRefusals = []string{"22", "23", "54"}
)

// columns are those of the table, in the order of [values]. New ones come to
// old tables, too, so they must allow null.
func (d dialect) columns() [][2]string {
	return [][2]string{
		{"id", "TEXT PRIMARY KEY"}, {"time", d.moment + " NOT NULL"}, {"client", "TEXT"}, {"metadata", "TEXT"}, {"operation", "TEXT"},
		{"model", "TEXT"}, {"target_model", "TEXT"}, {"model_answered", "TEXT"}, {"stream", "BOOLEAN NOT NULL"},
		{"provider", "TEXT"}, {"key_id", "TEXT"}, {"attempts", "TEXT"}, {"outcome", "TEXT NOT NULL"}, {"code", "TEXT"}, {"status", "INTEGER"},
		{"finish", "TEXT"}, {"finish_reason", "TEXT"},
		{"input_tokens", "BIGINT"}, {"output_tokens", "BIGINT"}, {"cache_read_tokens", "BIGINT"}, {"cache_write_tokens", "BIGINT"},
		{"reasoning_tokens", "BIGINT"}, {"audio_input_tokens", "BIGINT"}, {"audio_output_tokens", "BIGINT"}, {"usage_estimated", "BOOLEAN"},
		{"cost_usd", d.real}, {"first_token_ms", d.real}, {"per_token_ms", d.real}, {"duration_ms", d.real}, {"events", "BIGINT"},
	}
}

// create returns the statement that makes the table.
func (d dialect) create(table string) string {
	var list []string
	for _, column := range d.columns() {
		list = append(list, column[0]+" "+column[1])
	}
	return "CREATE TABLE IF NOT EXISTS " + table + " (" + strings.Join(list, ", ") + ")"
}

// none returns the statement that tells the table's columns.
func (d dialect) none(table string) string { return "SELECT * FROM " + table + " WHERE 1 = 0" }

// add returns the statement that adds a column.
func (d dialect) add(table string, column [2]string) string {
	return "ALTER TABLE " + table + " ADD COLUMN " + column[0] + " " + column[1]
}

// index returns the statement that makes old rows easy to find.
func (d dialect) index(table string) string {
	return "CREATE INDEX IF NOT EXISTS " + table + "_time ON " + table + " (time)"
}

// insert returns the statement that adds a row, unless it is there.
func (d dialect) insert(table string) string {
	var names, places []string
	for i, column := range d.columns() {
		names, places = append(names, column[0]), append(places, d.placeholder(i+1))
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ") ON CONFLICT (id) DO NOTHING"
}

// forget returns the statement that deletes the rows before a time.
func (d dialect) forget(table string) string {
	return "DELETE FROM " + table + " WHERE time < " + d.placeholder(1)
}
