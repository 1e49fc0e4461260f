// SPDX-License-Identifier: Apache-2.0

// Package sql keeps the records of calls in a table of SQLite or PostgreSQL.
// It is not part of the plugin as such, so that only those carry the weight of
// the drivers who build it in:
//
//	xcaddy build --with github.com/seed83435595/caddy-llm-proxy \
//		--with github.com/seed83435595/caddy-llm-proxy/ledgers/sql
package sql

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	caddy.RegisterModule(new(SQL))
}

// defaultTable is what the table is called.
const defaultTable = "llm_calls"

// SQL keeps records in a table, which it makes if there is none. Each record
// is a row whose key is the request id, so that one which is written twice,
// after a connection has failed, stands there once.
type SQL struct {
	// Driver is the kind of database: sqlite or postgres.
	Driver string `json:"driver,omitempty"`

	// Source is where it is: the name of a file for sqlite, a URL such as
	// postgres://user:password@host/database for postgres. Placeholders keep
	// the password out of the config.
	Source string `json:"source,omitempty"`

	// Table is the name of the table. Default: llm_calls.
	Table string `json:"table,omitempty"`

	// Retention is how long rows are kept. Default: for ever.
	Retention caddy.Duration `json:"retention,omitempty"`

	dialect dialect
	source  string
}

// CaddyModule returns the Caddy module information.
func (*SQL) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.ledger.sql",
		New: func() caddy.Module { return new(SQL) },
	}
}

// Provision resolves what the config says. The database is not asked.
func (s *SQL) Provision(caddy.Context) error {
	if s.Table == "" {
		s.Table = defaultTable
	}
	var ok bool
	if s.dialect, ok = dialects[s.Driver]; !ok {
		return fmt.Errorf("driver: unknown %q; known are sqlite and postgres", s.Driver)
	}
	source, err := caddy.NewReplacer().ReplaceOrErr(s.Source, true, true)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	s.source = source
	return nil
}

// tableName is what a table may be called: the name goes into statements.
var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Validate refuses what would fail at the first record.
func (s *SQL) Validate() error {
	switch {
	case s.source == "":
		return errors.New("source: where the database is must be said")
	case !tableName.MatchString(s.Table):
		return fmt.Errorf("table: a name of letters, digits and underscores is needed, not %q", s.Table)
	case s.Retention < 0:
		return errors.New("retention: must not be negative")
	}
	return nil
}

// Name is which table it is and how long its rows are kept.
func (s *SQL) Name() (string, error) {
	text, err := json.Marshal([]any{s.Driver, s.source, s.Table, s.Retention})
	return string(text), err
}

// Open makes the sink. No connection is made before the first record.
func (s *SQL) Open() (ledger.Sink, error) {
	db, err := sql.Open(s.dialect.driver, s.dialect.source(s.source))
	if err != nil {
		// Not the error itself: it may repeat the password.
		return nil, errors.New("source: malformed")
	}
	db.SetMaxOpenConns(1)
	return &sink{db: db, dialect: s.dialect, table: s.Table, retention: time.Duration(s.Retention)}, nil
}

// UnmarshalCaddyfile sets up the table from Caddyfile tokens. Syntax:
//
//	sql sqlite|postgres <source> {
//		table     <name>
//		retention <duration>
//	}
func (s *SQL) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume module name
	if !d.AllArgs(&s.Driver, &s.Source) {
		return d.Err("sql: wants a driver, sqlite or postgres, and where the database is")
	}
	for d.NextBlock(0) {
		var err error
		switch option := d.Val(); option {
		case "table":
			s.Table, err = syntax.ArgumentOnce(d, s.Table != "")
		case "retention":
			err = syntax.DurationOnce(d, &s.Retention)
		default:
			err = syntax.Unknown(d, "sql", option, "table", "retention")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*SQL)(nil)
	_ caddy.Validator       = (*SQL)(nil)
	_ caddyfile.Unmarshaler = (*SQL)(nil)
	_ ledger.Module         = (*SQL)(nil)
)
