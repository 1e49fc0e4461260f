// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Judge says what an answer means for the key and the upstream that gave it,
// from its status, its header and its body, of which at most 64 KiB matter;
// a gzip encoding is undone. What the provider says comes first, then the
// status. A wait is stated relative to now.
//
// For an error event within a stream, status is that of the answer and body
// is the event's data. A success with an empty body is no failure.
func (r *Request) Judge(status int, h http.Header, body []byte, now time.Time) keypool.Verdict {
	if status < 400 && (status < 200 || status > 299 || len(body) == 0) {
		return keypool.Verdict{Class: keypool.ClassOK}
	}
	f := readFault(status, h, body)
	if strings.Contains(r.Model, " ") {
		// No model is called so. A client that has a provider quote this does
		// not get to say what is wrong.
		f.text = strings.ReplaceAll(f.text, strings.ToLower(r.Model), "")
	}
	v := f.judge()
	if v.Class == keypool.ClassAccess && r.Operation != nil && r.Operation.Dialect == nil {
		// What is passed through unread may be for administrators. A key that
		// is refused there may be good for what keys are for.
		v.Class = keypool.ClassCaller
	}
	if v.Class == keypool.ClassUpstream && f.status == http.StatusConflict && (r.once || r.Operation != nil && !r.Operation.Repeatable) {
		// What was made is not in a state for what the client wants of it, or
		// another request of the client's is being served under the same name.
		v.Class = keypool.ClassCaller
	}
	if v.Next() != keypool.Answer {
		v.Wait = f.wait(v.Class, now)
	}

	return v
}

// rule is one thing that providers say, and what it means. It holds when the
// status is among on (any, if empty), when one of words or texts fits (or
// there are none), and when the condition and does too (if set).
type rule struct {
	class keypool.Class
	on    []int
	// words are short codes in lower case; a star at the end stands for any
	// rest.
	words []string
	// texts finds the rule in the lower-case message.
	texts *regexp.Regexp
	and   func(*fault) bool
	// excess says that a smaller request would be served.
	excess bool
}

func (f *fault) judge() keypool.Verdict {
	for _, rule := range rules {
		if detail, ok := rule.fits(f); ok {
			return keypool.Verdict{Class: rule.class, Detail: detail, Excess: rule.excess}
		}
	}
	v := keypool.Verdict{Class: keypool.ClassCaller, Detail: f.detail()}
	if class, ok := byStatus[f.status]; ok {
		v.Class = class
	} else if f.status < 400 || f.status >= 500 {
		v.Class = keypool.ClassUpstream
	}

	return v
}

// fits tells whether the rule holds for f, and by which code.
func (r rule) fits(f *fault) (detail string, ok bool) {
	if len(r.on) > 0 && !slices.Contains(r.on, f.status) {
		return "", false
	}
	i := slices.IndexFunc(f.words, r.names)
	said := r.texts != nil && r.texts.MatchString(f.text)
	if i < 0 && !said && (len(r.words) > 0 || r.texts != nil) {
		return "", false
	}
	if r.and != nil && !r.and(f) {
		return "", false
	}
	if i < 0 {
		return f.detail(), true
	}

	return f.words[i], true
}

// names tells whether word is one of the rule's.
func (r rule) names(word string) bool {
	word = strings.ToLower(word)

	return slices.ContainsFunc(r.words, func(known string) bool {
		prefix, open := strings.CutSuffix(known, "*")

		return word == known || open && strings.HasPrefix(word, prefix)
	})
}

// detail is the code to show where none was decisive.
func (f *fault) detail() string {
	if len(f.words) == 0 {
		return ""
	}

	return f.words[0]
}
