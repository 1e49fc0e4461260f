// SPDX-License-Identifier: Apache-2.0

// Package syntax is what all options have in common in a Caddyfile: the line
// where one stands, that most may stand only once, and how a duration and a
// choice are spelled.
package syntax

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

// Line is where in a Caddyfile a part of the config stands. The zero value is
// nowhere: that of a config which came as JSON. So a check that holds for both
// is written once, and names the line where there is one.
type Line struct{ at *caddyfile.Dispenser }

// At returns the line that d stands at.
func At(d *caddyfile.Dispenser) Line {
	at := *d
	return Line{&at}
}

// Wrap adds the line to an error. There may be none.
func (l Line) Wrap(err error) error {
	if err == nil || l.at == nil {
		return err
	}
	return l.at.WrapErr(err)
}

// Known tells whether the config came out of a Caddyfile.
func (l Line) Known() bool { return l.at != nil }

// String returns the file and the line, and for a config that came as JSON
// nothing.
func (l Line) String() string {
	if l.at == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", l.at.File(), l.at.Line())
}

// Warn says in the log what is odd about the line, but no error. It does so
// while the Caddyfile is read, as Caddy does, and says nothing of JSON.
func (l Line) Warn(format string, args ...any) {
	if l.at == nil {
		return
	}
	caddy.Log().Named("caddyfile").Warn(fmt.Sprintf(format, args...), zap.String("file", l.at.File()), zap.Int("line", l.at.Line()))
}
