// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// defaultTrailHeader is the name of the header where none is given.
const defaultTrailHeader = "X-LLM-Attempts"

// maxTrail bounds the header, in bytes: proxies on the way take only so much.
const maxTrail = 4 << 10

// String tells of the attempt as logs and the trail header do:
// key-id:class:milliseconds.
func (a Attempt) String() string {
	var short [64]byte
	return string(a.append(short[:0]))
}

func (a Attempt) append(to []byte) []byte {
	to = append(to, a.KeyID...)
	to = append(to, ':')
	to = append(to, a.Verdict.Class.String()...)
	to = append(to, ':')
	return strconv.AppendInt(to, a.Duration.Milliseconds(), 10)
}

// trail returns what the attempts are in a header: divided by commas, and with
// what would not pass there replaced.
func (c *Call) trail() string {
	var trail []byte
	for _, attempt := range c.Attempts {
		start := len(trail)
		if start > 0 {
			trail = append(trail, ',')
		}
		entry := len(trail)
		trail = attempt.append(trail)
		if len(trail) > maxTrail {
			trail = trail[:start]
			break
		}
		for i, char := range trail[entry:] {
			if char <= ' ' || char >= 0x7f || char == ',' {
				trail[entry+i] = '_'
			}
		}
	}
	return string(trail)
}

// showTrail puts the attempts so far into an answer's header, if that is
// wanted.
func (t *Transport) showTrail(h http.Header, call *Call) {
	if t.TrailHeader != "" && len(call.Attempts) > 0 {
		h.Set(t.TrailHeader, call.trail())
	}
}

func (t *Transport) validateTrail() error {
	if strings.ContainsFunc(t.TrailHeader, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	}) {
		return errors.New("trail_header: the name of a header is made of letters, digits and hyphens")
	}
	return nil
}

// parseTrail reads "trail_header [<name>]".
func (t *Transport) parseTrail(d *caddyfile.Dispenser) error {
	if t.TrailHeader != "" {
		return d.Err("trail_header: already specified")
	}
	switch args := d.RemainingArgs(); {
	case len(args) == 0:
		t.TrailHeader = defaultTrailHeader
	case len(args) > 1 || args[0] == "":
		return d.ArgErr()
	default:
		t.TrailHeader = args[0]
	}
	return nil
}
