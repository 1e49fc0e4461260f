// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// options says by its name where an option's arguments go: a *string, a
// *caddy.Duration and an *int, of at least 1, take one and stand once; a *bool
// takes none and stands once; a *[]string takes any number, as often as the
// option stands there, and so does a func([]string) error.
type options map[string]any

// parse reads a block of them, which belongs to the option of.
func (o options) parse(d *caddyfile.Dispenser, of string) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option, args := d.Val(), d.RemainingArgs()
		into, known := o[option]
		if !known {
			return syntax.Unknown(d, of, option, slices.Sorted(maps.Keys(o))...)
		}
		if _, flag := into.(*bool); !flag && len(args) == 0 {
			return d.Errf("%s: %s: wants an argument", of, option)
		}
		if err := set(into, args); err != nil {
			return d.Errf("%s: %s: %v", of, option, err)
		}
	}
	return nil
}

var (
	errTwice       = errors.New("already specified")
	errOneArgument = errors.New("wants one argument")
	errNoArgument  = errors.New("wants no argument")
)

// set hands an option its arguments.
func set(into any, args []string) (err error) {
	switch into := into.(type) {
	case *[]string:
		*into = append(*into, args...)
	case *bool:
		if *into {
			return errTwice
		}
		if *into = true; len(args) > 0 {
			return errNoArgument
		}
	case func([]string) error:
		return into(args)
	case *string:
		if *into != "" {
			return errTwice
		}
		if *into = args[0]; len(args) > 1 || *into == "" {
			return errOneArgument
		}
	case *caddy.Duration:
		if *into != 0 {
			return errTwice
		}
		if len(args) > 1 {
			return errOneArgument
		}
		length, err := syntax.Duration(args[0])
		*into = caddy.Duration(length)
		return err
	case *int:
		if *into != 0 {
			return errTwice
		}
		if *into, err = strconv.Atoi(args[0]); err != nil || len(args) > 1 || *into < 1 {
			return fmt.Errorf("not a number of at least 1: %s", strings.Join(args, " "))
		}
	default:
		panic(fmt.Sprintf("a %T takes no arguments", into))
	}
	return nil
}
