// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// VerdictRule says what an answer of a provider means, where that is not known
// or is meant otherwise. It holds when the status, the headers and the body
// that it names fit; at least one of these is needed.
type VerdictRule struct {
	// Class is what the answer means: caller, context, policy, tier,
	// rate_limited, quota, credential, access, model, upstream, overloaded or
	// region. It decides what is penalised and what is tried next.
	Class string `json:"class"`

	// Status are HTTP statuses, such as 418, or classes of them, such as 5xx,
	// of which one must fit. An error event within a stream has the status that
	// it names, else 200. With 200 or 2xx the rule also holds for answers that
	// come whole, of up to 64 KiB. Default: any that is an error.
	Status []string `json:"status,omitempty"`

	// Header are regular expressions that a value of each of these headers
	// must match. Default: any.
	Header map[string]string `json:"header,omitempty"`

	// Body is a regular expression that must be found in the first 64 KiB of
	// the body, or in the data of an error event. Clients must not be able to
	// make a provider say it: errors may repeat the request. Default: any.
	Body string `json:"body,omitempty"`

	// Wait is how long the key, or the provider, is left alone. Default: what
	// the provider says, else what is usual for the class.
	Wait caddy.Duration `json:"wait,omitempty"`

	// Stop makes the answer the client's, whatever else the class would have
	// had tried. Default: false.
	Stop bool `json:"stop,omitempty"`
}

// ownClasses are the classes that a rule may have. The others are not what an
// answer says, but that none comes, or how it ends.
var ownClasses = []keypool.Class{
	keypool.ClassCaller, keypool.ClassContext, keypool.ClassPolicy, keypool.ClassTier,
	keypool.ClassRateLimited, keypool.ClassQuota, keypool.ClassCredential, keypool.ClassAccess, keypool.ClassModel,
	keypool.ClassUpstream, keypool.ClassOverloaded, keypool.ClassRegion,
}

func parseClass(name string) (keypool.Class, error) {
	var names []string
	for _, class := range ownClasses {
		if class.String() == name {
			return class, nil
		}
		names = append(names, class.String())
	}
	return 0, fmt.Errorf("unknown class %q; known are %s", name, strings.Join(names, ", "))
}

// ownRules makes rules ready. Errors say which one is wrong.
func ownRules(lists ...[]*VerdictRule) (wire.OwnRules, error) {
	var ready wire.OwnRules
	for _, list := range lists {
		for i, rule := range list {
			if rule == nil {
				return nil, fmt.Errorf("verdict %d: null", i+1)
			}
			own, err := rule.ready()
			if err != nil {
				return nil, fmt.Errorf("verdict %d (%s): %w", i+1, rule.Class, err)
			}
			ready = append(ready, own)
		}
	}
	return ready, nil
}

func (v *VerdictRule) ready() (*wire.OwnRule, error) {
	class, err := parseClass(v.Class)
	switch {
	case err != nil:
		return nil, err
	case len(v.Status) == 0 && len(v.Header) == 0 && v.Body == "":
		return nil, errors.New("it would hold for every error: say for which with status, header or body")
	case v.Wait < 0:
		return nil, errors.New("wait: must not be negative")
	case v.Wait > 0 && keypool.Verdict{Class: class}.Scope() == keypool.ScopeNone:
		return nil, errors.New("wait: this class costs nothing that could be left alone")
	}
	own := &wire.OwnRule{Class: class, Wait: time.Duration(v.Wait), Stop: v.Stop, Headers: map[string]*regexp.Regexp{}}
	for _, status := range v.Status {
		of, err := parseStatus(status)
		if err != nil {
			return nil, err
		}
		own.Statuses = append(own.Statuses, of)
	}
	for name, pattern := range v.Header {
		if own.Headers[textproto.CanonicalMIMEHeaderKey(name)], err = regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
	}
	if v.Body != "" {
		if own.Body, err = regexp.Compile(v.Body); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	return own, nil
}

// parseStatus reads a status such as 418, or a class of them such as 5xx.
func parseStatus(text string) (wire.StatusRange, error) {
	if digit, isClass := strings.CutSuffix(text, "xx"); isClass && len(digit) == 1 && digit >= "2" && digit <= "5" {
		first := 100 * int(digit[0]-'0')
		return wire.StatusRange{First: first, Last: first + 99}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 200 || n > 599 {
		return wire.StatusRange{}, fmt.Errorf("status: %q is neither a status such as 418 nor a class of them such as 5xx", text)
	}
	return wire.StatusRange{First: n, Last: n}, nil
}

// parseVerdict reads a rule.
func parseVerdict(d *caddyfile.Dispenser, into *[]*VerdictRule) error {
	rule := new(VerdictRule)
	if !d.AllArgs(&rule.Class) {
		return d.ArgErr()
	}
	if _, err := parseClass(rule.Class); err != nil {
		return d.Errf("verdict: %v", err)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := rule.parseOption(d); err != nil {
			return err
		}
	}
	if _, err := rule.ready(); err != nil {
		return d.Errf("verdict %s: %v", rule.Class, err)
	}
	*into = append(*into, rule)
	return nil
}

func (v *VerdictRule) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "status":
		statuses := d.RemainingArgs()
		if len(statuses) == 0 {
			return d.ArgErr()
		}
		v.Status = append(v.Status, statuses...)
		return nil
	case "header":
		var name, pattern string
		if !d.AllArgs(&name, &pattern) {
			return d.ArgErr()
		}
		if _, twice := v.Header[name]; twice {
			return d.Errf("header %s: already specified", name)
		}
		if v.Header == nil {
			v.Header = map[string]string{}
		}
		v.Header[name] = pattern
		return nil
	case "body":
		return syntax.TextOnce(d, &v.Body)
	case "wait":
		return parseDuration(d, &v.Wait)
	case "stop":
		return syntax.FlagOnce(d, &v.Stop)
	}
	return syntax.Unknown(d, "verdict", d.Val(), "status", "header", "body", "wait", "stop")
}
