// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
)

const (
	// forgetEvery is how often old rows are looked for.
	forgetEvery = time.Hour
	// writeTime is how long a batch may take.
	writeTime = 30 * time.Second
)

// sink writes to the table.
type sink struct {
	db        *sql.DB
	dialect   dialect
	table     string
	retention time.Duration
	made      bool
	forgot    time.Time
}

// Write adds the records in one transaction.
func (s *sink) Write(ctx context.Context, records []*ledger.Record) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	batch, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer batch.Rollback() //nolint:errcheck // After a commit there is nothing to roll back.
	insert, err := batch.PrepareContext(ctx, s.dialect.insert(s.table))
	if err != nil {
		return fmt.Errorf("preparing to insert: %w", err)
	}
	defer func() { _ = insert.Close() }()
	for _, record := range records {
		if _, err := insert.ExecContext(ctx, s.values(record)...); err != nil {
			if s.dialect.refuses(err) {
				err = fmt.Errorf("%w: %w", ledger.ErrRefused, err)
			}
			return fmt.Errorf("inserting: %w", err)
		}
	}
	if err := batch.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// prepare makes the table, and lets old rows go.
func (s *sink) prepare(ctx context.Context) error {
	if !s.made {
		if err := s.make(ctx); err != nil {
			return fmt.Errorf("making the table: %w", err)
		}
		s.made = true
	}
	now := time.Now()
	if s.retention > 0 && now.Sub(s.forgot) >= forgetEvery {
		if _, err := s.db.ExecContext(ctx, s.dialect.forget(s.table), s.dialect.at(now.Add(-s.retention))); err != nil {
			return fmt.Errorf("deleting old rows: %w", err)
		}
		s.forgot = now
	}
	return nil
}

// make makes the table, or adds to one of an earlier version what it lacks.
// Where two do that at a time, one of them fails and finds it done the next
// time.
func (s *sink) make(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, s.dialect.create(s.table)); err != nil {
		return err
	}
	has, err := s.has(ctx)
	if err != nil {
		return err
	}
	for _, column := range s.dialect.columns() {
		if slices.Contains(has, column[0]) {
			continue
		}
		if _, err := s.db.ExecContext(ctx, s.dialect.add(s.table, column)); err != nil {
			return fmt.Errorf("adding the column %s: %w", column[0], err)
		}
	}
	_, err = s.db.ExecContext(ctx, s.dialect.index(s.table))
	return err
}

// has returns the names of the columns that the table has.
func (s *sink) has(ctx context.Context) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.none(s.table))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	return names, rows.Err()
}

// Close closes the connection.
func (s *sink) Close() error { return s.db.Close() }

// values returns what goes into the columns. What is not known is null.
func (s *sink) values(r *ledger.Record) []any {
	var metadata []byte
	if len(r.Metadata) > 0 {
		metadata, _ = json.Marshal(r.Metadata) // texts only: it cannot fail
	}
	usage := make([]any, 8)
	if u := r.Usage; u != nil {
		usage = []any{u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning, u.AudioIn, u.AudioOut, u.Estimated}
	}
	values := []any{
		r.ID, s.dialect.at(r.Time), known(r.Client), known(string(metadata)), known(r.Operation),
		known(r.Model), known(r.TargetModel), known(r.ModelAnswered), r.Stream,
		known(r.Provider), known(r.Key), known(strings.Join(r.Attempts, ",")), r.Outcome, known(r.Code), known(r.Status),
		known(r.Finish), known(r.FinishReason),
	}
	values = append(values, usage...)
	var cost any
	if r.Cost != nil {
		cost = *r.Cost
	}
	return append(values, cost, known(r.FirstTokenMS), known(r.PerTokenMS), r.DurationMS, known(r.Events))
}

// known returns nil for what is not known.
func known[T comparable](value T) any {
	var nothing T
	if value == nothing {
		return nil
	}
	return value
}
