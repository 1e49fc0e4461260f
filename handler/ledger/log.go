// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Log))
}

// Log writes records to the logger llm.ledger, so that Caddy's logging takes
// them where it takes logs. It differs from the line that the handler itself
// writes about each call in that the line is a whole record, and in that it is
// written behind the call's back.
type Log struct{}

// CaddyModule returns the Caddy module information.
func (*Log) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.ledger.log",
		New: func() caddy.Module { return new(Log) },
	}
}

// Name is empty: there is one log.
func (*Log) Name() (string, error) { return "", nil }

// Open makes the sink.
func (*Log) Open() (Sink, error) { return logSink{}, nil }

// UnmarshalCaddyfile sets up the log from Caddyfile tokens. Syntax:
//
//	log
func (*Log) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume module name
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("ledger log: has no options, and so no %s", d.Val())
	}
	return nil
}

type logSink struct{}

// Write logs the records. The logger is that of the config at hand.
func (logSink) Write(_ context.Context, records []*Record) error {
	logger := caddy.Log().Named("llm.ledger")
	for _, record := range records {
		logger.Info("record", zap.Any("record", record))
	}
	return nil
}

// Close has nothing to close.
func (logSink) Close() error { return nil }

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Log)(nil)
	_ Module                = (*Log)(nil)
)
