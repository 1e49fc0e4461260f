// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	caddy.RegisterModule(new(Redis))
}

// defaultMaxRecords is how many records a stream holds.
const defaultMaxRecords = 1_000_000

// Redis keeps records in a Redis stream, each as an entry whose field "record"
// is JSON, for other programs to read.
type Redis struct {
	redisconf.Redis

	// Stream is the name of the stream. Default: ledger, behind the key
	// prefix: caddy_llm:ledger.
	Stream string `json:"stream,omitempty"`

	// MaxRecords is about how many records the stream holds; the oldest go
	// first. Default: 1000000.
	MaxRecords int64 `json:"max_records,omitempty"`

	// Retention is how long records are held. Default: for ever, as far as
	// MaxRecords allows.
	Retention caddy.Duration `json:"retention,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Redis) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.ledger.redis",
		New: func() caddy.Module { return new(Redis) },
	}
}

// Validate refuses bounds that bound nothing.
func (r *Redis) Validate() error {
	if r.MaxRecords < 0 || r.Retention < 0 {
		return errors.New("neither max_records nor retention can be negative")
	}
	return nil
}

// Name is where Redis is, the secrets for it, and what the stream is like.
func (r *Redis) Name() (string, error) {
	server, err := r.Redis.Name()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal([]any{server, r.Stream, r.MaxRecords, r.Retention})
	return string(text), err
}

// Open makes the sink.
func (r *Redis) Open() (Sink, error) {
	opened, release, err := r.Redis.Open()
	if err != nil {
		return nil, err
	}
	s := &redisSink{store: opened, release: release, retention: time.Duration(r.Retention)}
	s.add = redis.XAddArgs{Stream: r.Stream, Approx: true, MaxLen: r.MaxRecords}
	if s.add.Stream == "" {
		s.add.Stream = opened.Key("ledger")
	}
	if s.add.MaxLen == 0 {
		s.add.MaxLen = defaultMaxRecords
	}
	return s, nil
}

// UnmarshalCaddyfile sets up the stream from Caddyfile tokens. Syntax:
//
//	redis <address>... {
//		stream      <name>
//		max_records <n>
//		retention   <duration>
//		<any option of redis>
//	}
func (r *Redis) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return r.Redis.ParseCaddyfile(d, r.parseOption, "stream", "max_records", "retention")
}

func (r *Redis) parseOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "stream":
		r.Stream, err = syntax.ArgumentOnce(d, r.Stream != "")
	case "max_records":
		err = r.parseMaxRecords(d)
	case "retention":
		err = syntax.DurationOnce(d, &r.Retention)
	default:
		return false, nil
	}
	return true, err
}

func (r *Redis) parseMaxRecords(d *caddyfile.Dispenser) error {
	text, err := syntax.ArgumentOnce(d, r.MaxRecords != 0)
	if err != nil {
		return err
	}
	if r.MaxRecords, err = strconv.ParseInt(text, 10, 64); err != nil || r.MaxRecords < 1 {
		return d.Errf("max_records: not a number of at least 1: %s", text)
	}
	return nil
}

// redisSink adds to the stream.
type redisSink struct {
	store     *store.Store
	release   func() error
	add       redis.XAddArgs
	retention time.Duration
}

// Write adds the records, in one exchange. After a failure in the midst of it
// some may be added twice; their ids tell.
func (s *redisSink) Write(ctx context.Context, records []*Record) error {
	pipeline := s.store.Client().Pipeline()
	for _, record := range records {
		text, err := json.Marshal(record)
		if err != nil {
			return fmt.Errorf("%w: encoding one: %w", ErrRefused, err)
		}
		add := s.add
		add.Values = []any{"record", text}
		pipeline.XAdd(ctx, &add)
	}
	if s.retention > 0 {
		oldest := time.Now().Add(-s.retention).UnixMilli()
		pipeline.XTrimMinIDApprox(ctx, s.add.Stream, strconv.FormatInt(oldest, 10), 0)
	}
	if _, err := pipeline.Exec(ctx); err != nil {
		return fmt.Errorf("adding to the stream: %w", err)
	}
	return nil
}

// Close lets go of the connection.
func (s *redisSink) Close() error { return s.release() }

// Interface guards
var (
	_ caddy.Validator       = (*Redis)(nil)
	_ caddyfile.Unmarshaler = (*Redis)(nil)
	_ Module                = (*Redis)(nil)
)
