// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// ParseOption parses the option that d stands at, if it is one about who may
// call.
func (who *Callers) ParseOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "client":
		err = who.parseClient(d)
	case "group":
		err = who.parseGroup(d)
	case "clients":
		err = who.parseClients(d)
	case "jwt":
		err = who.parseJWT(d)
	case "introspection":
		err = who.parseIntrospection(d)
	case "auth_failures":
		err = who.parseAuthFailures(d)
	default:
		return false, nil
	}
	return true, err
}

func (who *Callers) parseClients(d *caddyfile.Dispenser) error {
	if who.ClientsFile != "" {
		return d.Err("clients: already specified")
	}
	if !d.AllArgs(&who.ClientsFile) {
		return d.Err("clients: wants one file")
	}
	return nil
}

// parseAuthFailures parses "auth_failures <n> <window>".
func (who *Callers) parseAuthFailures(d *caddyfile.Dispenser) error {
	if who.AuthFailures != nil {
		return d.Err("auth_failures: already specified")
	}
	var limit, window string
	if !d.AllArgs(&limit, &window) {
		return d.Err("auth_failures: wants a number and a window, such as 'auth_failures 20 1m'")
	}
	n, err := strconv.Atoi(limit)
	if err != nil {
		return d.Errf("auth_failures: not a number: %s", limit)
	}
	length, err := caddy.ParseDuration(window)
	if err != nil {
		return d.Errf("auth_failures: not a window: %s", window)
	}
	who.AuthFailures = &AuthFailures{Limit: n, Window: caddy.Duration(length)}
	return nil
}
