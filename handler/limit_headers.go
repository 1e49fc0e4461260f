// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// limitHeaders is how a family's SDKs and their users know rate limits:
// x-ratelimit-remaining-tokens, or anthropic-ratelimit-tokens-remaining.
type limitHeaders struct {
	prefix string
	// names are the three headers of each kind of limit; empty for kinds that
	// SDKs do not know by header.
	names [limits.Kinds]struct{ limit, remaining, reset string }
	// reset spells when a limit is whole again.
	reset func(now time.Time, in time.Duration) string
}

// headerKinds are the kinds of limits that SDKs know by header.
var headerKinds = map[limits.Kind]string{
	limits.Requests:     "Requests",
	limits.Tokens:       "Tokens",
	limits.InputTokens:  "Input-Tokens",
	limits.OutputTokens: "Output-Tokens",
}

// newLimitHeaders makes ready the headers whose names spell gives out of their
// parts.
func newLimitHeaders(prefix string, spell func(prefix, kind, what string) string, reset func(time.Time, time.Duration) string) *limitHeaders {
	l := &limitHeaders{prefix: prefix, reset: reset}
	for kind, name := range headerKinds {
		names := &l.names[kind]
		names.limit, names.remaining, names.reset = spell(prefix, name, "Limit"), spell(prefix, name, "Remaining"), spell(prefix, name, "Reset")
	}
	return l
}

var openaiLimitHeaders = newLimitHeaders("X-Ratelimit-",
	func(prefix, kind, what string) string { return prefix + what + "-" + kind },
	func(_ time.Time, in time.Duration) string { return in.Round(time.Millisecond).String() },
)

var anthropicLimitHeaders = newLimitHeaders("Anthropic-Ratelimit-",
	func(prefix, kind, what string) string { return prefix + kind + "-" + what },
	func(now time.Time, in time.Duration) string {
		return now.Add(in + time.Second - 1).UTC().Truncate(time.Second).Format(time.RFC3339)
	},
)

// limitHeadersOf returns how a family spells rate limits. Google has no such
// headers; its clients get the common ones.
func limitHeadersOf(family *wire.Family) *limitHeaders {
	if family.Name == "anthropic" {
		return anthropicLimitHeaders
	}
	return openaiLimitHeaders
}

// set states where a client stands. What the provider has said of our key's
// limits is not the client's business and goes. Of several rules of a kind the
// one with the least left is stated, but the one that has refused the call
// rather than any other.
func (l *limitHeaders) set(h http.Header, states []limits.State, met *limits.Exceeded, now time.Time) {
	for name := range h {
		if strings.HasPrefix(name, l.prefix) {
			delete(h, name)
		}
	}
	var tightest [limits.Kinds]*limits.State
	for i := range states {
		state := &states[i]
		least := &tightest[state.Rule.Kind]
		switch {
		case *least == nil, met != nil && state.Rule == met.Rule:
			*least = state
		case met != nil && (*least).Rule == met.Rule:
		case state.Remaining() < (*least).Remaining():
			*least = state
		}
	}
	w := headerWriter{header: h, values: make([]string, 0, 3*len(states))}
	for kind, state := range tightest {
		if names := &l.names[kind]; state != nil && names.limit != "" {
			w.set(names.limit, strconv.FormatInt(state.Rule.Amount, 10))
			w.set(names.remaining, strconv.FormatInt(state.Remaining(), 10))
			w.set(names.reset, l.reset(now, state.Reset))
		}
	}
}

// headerWriter sets headers of one value each, whose values share memory.
type headerWriter struct {
	header http.Header
	values []string
}

func (w *headerWriter) set(name, value string) {
	w.values = append(w.values, value)
	n := len(w.values)
	w.header[name] = w.values[n-1 : n : n]
}

// limitWriter states a client's limits in the head of its answer.
type limitWriter struct {
	caddyhttp.ResponseWriterWrapper
	quota   *quota
	headers *limitHeaders
	stated  bool
}

// WriteHeader states the limits in the head that counts.
func (w *limitWriter) WriteHeader(status int) {
	if !w.stated && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		w.stated = true
		now := time.Now()
		w.headers.set(w.Header(), w.quota.hold.States(now), w.quota.exceeded, now)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}
