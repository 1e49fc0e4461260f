// SPDX-License-Identifier: Apache-2.0

// Package guest holds what all have in common that ask issuers, first of all
// the sources of credentials: how their options are read, how issuers are
// asked, and what may be told of their errors.
package guest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Options says by its name where an option's arguments go: a *string takes
// one, a *[]string at least one, and a *map[string]string a name and a value,
// as often as the option stands there.
type Options map[string]any

// Parse reads a source's block. What is unknown, or stands twice, is an error.
func (o Options) Parse(d *caddyfile.Dispenser) error {
	d.Next() // consume the source's name
	source := d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		into, known := o[d.Val()]
		if !known {
			return d.Errf("%s: unrecognized option %s; known: %s", source, d.Val(), strings.Join(slices.Sorted(maps.Keys(o)), ", "))
		}
		if err := parseOption(d, into); err != nil {
			return err
		}
	}
	return nil
}

func parseOption(d *caddyfile.Dispenser, into any) error {
	option, args := d.Val(), d.RemainingArgs()
	for _, arg := range args {
		if arg == "" {
			return d.Errf("%s: must not be empty; if it comes from {$VARIABLE}, that variable is not set", option)
		}
	}
	twice := false
	switch into := into.(type) {
	case *string:
		if len(args) != 1 {
			return d.ArgErr()
		}
		twice, *into = *into != "", args[0]
	case *[]string:
		if len(args) == 0 {
			return d.ArgErr()
		}
		twice, *into = *into != nil, args
	case *map[string]string:
		if len(args) != 2 {
			return d.ArgErr()
		}
		if *into == nil {
			*into = map[string]string{}
		}
		_, twice = (*into)[args[0]]
		(*into)[args[0]] = args[1]
		option += " " + args[0]
	default:
		panic(fmt.Sprintf("option %s: a %T takes no arguments", option, into))
	}
	if twice {
		return d.Errf("%s: already specified", option)
	}
	return nil
}

// Resolver evaluates placeholders, such as {env.CLIENT_SECRET} or
// {file./run/secrets/client}. It remembers the first that fails.
type Resolver struct {
	repl *caddy.Replacer
	err  error
}

// NewResolver returns a resolver.
func NewResolver() *Resolver { return &Resolver{repl: caddy.NewReplacer()} }

// Text returns the text of an option.
func (r *Resolver) Text(option, text string) string {
	resolved, err := r.repl.ReplaceOrErr(text, true, true)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", option, err)
	}
	return resolved
}

// Needed returns the text of an option that may not be missing.
func (r *Resolver) Needed(option, text string) string {
	if text == "" && r.err == nil {
		r.err = fmt.Errorf("%s is needed", option)
	}
	return r.Text(option, text)
}

// Err returns the first error.
func (r *Resolver) Err() error { return r.err }
