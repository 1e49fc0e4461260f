// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// OwnRule is an operator's own rule of what an answer means. It holds when
// everything that it names fits; what it leaves empty always does.
type OwnRule struct {
	// Statuses are ranges of HTTP statuses, of which one must fit. An error
	// event within a stream has the status that it names, else that of the
	// answer.
	Statuses []StatusRange
	// Headers must all fit: one of the values of each.
	Headers map[string]*regexp.Regexp
	// Body must be found in the first 64 KiB of the body, without its
	// encoding, or in the data of the event.
	Body *regexp.Regexp

	// Class is what the answer means then.
	Class keypool.Class
	// Wait is how long what the class penalises is left alone. Default: what
	// the provider says, else what is usual for the class.
	Wait time.Duration
	// Stop says that the answer goes to the client, whatever else the class
	// would have tried.
	Stop bool
}

// StatusRange is the statuses from First to Last.
type StatusRange struct{ First, Last int }

// OwnRules are an operator's rules, of which the first that fits holds. They
// come before what is known of providers.
type OwnRules []*OwnRule

// Judge says what an answer to r means, as [Request.Judge] does.
func (rules OwnRules) Judge(r *Request, status int, h http.Header, body []byte, now time.Time) keypool.Verdict {
	if len(rules) > 0 {
		if status >= 400 { // the data of an event has no encoding any more
			body = uncompressed(h, body)
		}
		h = decoded(h)
		f := readFault(status, h, body)
		if v, ok := rules.first(f, f.status, h, body, now); ok {
			return v
		}
	}
	if status < 400 {
		// The header of a success speaks of a call that was let in.
		h = nil
	}

	return r.Judge(status, h, body, now)
}

// OfSuccesses returns the rules that name a status from 200 to 299.
func (rules OwnRules) OfSuccesses() OwnRules {
	return slices.DeleteFunc(slices.Clone(rules), func(rule *OwnRule) bool {
		return !slices.ContainsFunc(rule.Statuses, func(s StatusRange) bool { return s.First <= 299 && s.Last >= 200 })
	})
}

// JudgeSuccess says what a whole answer means that only the rules of successes
// could call a failure. It reports false if none of them does.
func (rules OwnRules) JudgeSuccess(status int, h http.Header, body []byte, now time.Time) (keypool.Verdict, bool) {
	if len(rules) == 0 {
		return keypool.Verdict{}, false
	}
	body, h = uncompressed(h, body), decoded(h)

	return rules.first(readFault(status, h, body), status, h, body, now)
}

// decoded returns the header of a body of which the encoding was undone.
func decoded(h http.Header) http.Header {
	h = h.Clone()
	h.Del("Content-Encoding")

	return h
}

// first returns the verdict by the first rule that fits.
func (rules OwnRules) first(f *fault, status int, h http.Header, body []byte, now time.Time) (keypool.Verdict, bool) {
	for _, rule := range rules {
		if !rule.fits(status, h, body) {
			continue
		}
		v := keypool.Verdict{Class: rule.Class, Detail: f.detail(), Wait: rule.Wait, Ordered: rule.Wait > 0}
		if rule.Wait == 0 && v.Next() != keypool.Answer {
			v.Wait = f.wait(v.Class, now)
		}
		v.Stop = rule.Stop

		return v, true
	}

	return keypool.Verdict{}, false
}

func (rule *OwnRule) fits(status int, h http.Header, body []byte) bool {
	if len(rule.Statuses) > 0 && !slices.ContainsFunc(rule.Statuses, func(s StatusRange) bool {
		return s.First <= status && status <= s.Last
	}) {
		return false
	}
	for name, pattern := range rule.Headers {
		if !slices.ContainsFunc(h.Values(name), pattern.MatchString) {
			return false
		}
	}

	return rule.Body == nil || rule.Body.Match(body)
}
