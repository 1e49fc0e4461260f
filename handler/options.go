// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// parseText parses an option that has one argument and stands once.
func parseText(d *caddyfile.Dispenser, of, option string, args []string, into *string) error {
	if *into != "" {
		return d.Errf("%s: %s: already specified", of, option)
	}
	if len(args) != 1 || args[0] == "" {
		return d.Errf("%s: %s: wants one argument", of, option)
	}
	*into = args[0]
	return nil
}

// parseDuration parses an option whose argument is a duration, and which
// stands once.
func parseDuration(d *caddyfile.Dispenser, of, option string, args []string, into *caddy.Duration) error {
	if *into != 0 {
		return d.Errf("%s: %s: already specified", of, option)
	}
	if len(args) > 1 {
		return d.Errf("%s: %s: wants one argument", of, option)
	}
	duration, err := syntax.Duration(args[0])
	if err != nil {
		return d.Errf("%s: %s: %v", of, option, err)
	}
	*into = caddy.Duration(duration)
	return nil
}

// parseCount parses an option whose argument is a number of at least 1, and
// which stands once.
func parseCount(d *caddyfile.Dispenser, of, option string, args []string, into *int) error {
	if *into != 0 {
		return d.Errf("%s: %s: already specified", of, option)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || len(args) > 1 || n < 1 {
		return d.Errf("%s: %s: not a number of at least 1: %s", of, option, strings.Join(args, " "))
	}
	*into = n
	return nil
}
