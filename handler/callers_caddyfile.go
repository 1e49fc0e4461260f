// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// parseOption parses the option that d stands at, if it is one about who may
// call.
func (who *Callers) parseOption(d *caddyfile.Dispenser) (known bool, err error) {
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
	case "redis":
		err = redisconf.Parse(d, &who.Redis)
	case "auth_failures":
		err = who.parseAuthFailures(d)
	default:
		return false, nil
	}
	return true, err
}

// callersOptions are the names of those that parseOption knows.
func callersOptions() []string {
	return []string{"client", "group", "clients", "jwt", "introspection", "redis", "auth_failures"}
}

// finishCaddyfile checks what can be told only when all options are parsed.
// Nothing is opened or read for that, and no placeholder evaluated. The line is
// the directive's.
func (who *Callers) finishCaddyfile(line syntax.Line) error {
	if err := who.checkStore(); err != nil {
		return line.Wrap(err)
	}
	if err := who.openGroups(); err != nil {
		return err
	}
	if err := who.checkIssuers(); err != nil {
		return err
	}
	if err := who.fillDirectory(nil, asWritten); err != nil {
		return err
	}
	for _, c := range who.Clients {
		c.warn(time.Now())
	}
	return nil
}

// parseClients parses "clients <file>|storage|redis". There may be a file and a
// store.
func (who *Callers) parseClients(d *caddyfile.Dispenser) error {
	var where string
	if !d.AllArgs(&where) {
		return d.Err("clients: wants one file, or 'storage' or 'redis' for clients that are managed while Caddy runs")
	}
	into := &who.ClientsFile
	if where == storeStorage || where == storeRedis {
		into = &who.ClientsStore
	}
	if *into != "" {
		return d.Err("clients: already specified; there may be one file and one store")
	}
	*into = where
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
	length, err := syntax.Duration(window)
	if err != nil {
		return d.Errf("auth_failures: window: %v", err)
	}
	who.AuthFailures = &AuthFailures{Limit: n, Window: caddy.Duration(length)}
	return syntax.At(d).Wrap(who.checkFailures())
}
