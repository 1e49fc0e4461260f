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
	// name spells a header out of its three parts.
	name func(prefix, what, kind string) string
	// reset spells when a limit is whole again.
	reset func(now time.Time, in time.Duration) string
}

var openaiLimitHeaders = limitHeaders{
	prefix: "X-Ratelimit-",
	name:   func(prefix, what, kind string) string { return prefix + what + "-" + kind },
	reset:  func(_ time.Time, in time.Duration) string { return in.Round(time.Millisecond).String() },
}

var anthropicLimitHeaders = limitHeaders{
	prefix: "Anthropic-Ratelimit-",
	name:   func(prefix, what, kind string) string { return prefix + kind + "-" + what },
	reset: func(now time.Time, in time.Duration) string {
		return now.Add(in + time.Second - 1).UTC().Truncate(time.Second).Format(time.RFC3339)
	},
}

// limitHeadersOf returns how a family spells rate limits. Google has no such
// headers; its clients get the common ones.
func limitHeadersOf(family *wire.Family) limitHeaders {
	if family.Name == "anthropic" {
		return anthropicLimitHeaders
	}
	return openaiLimitHeaders
}

// headerKinds are the kinds of limits that SDKs know by header.
var headerKinds = map[limits.Kind]string{
	limits.Requests:     "Requests",
	limits.Tokens:       "Tokens",
	limits.InputTokens:  "Input-Tokens",
	limits.OutputTokens: "Output-Tokens",
}

// set states where a client stands. What the provider has said of our key's
// limits is not the client's business and goes. Of several rules of a kind the
// one with the least left is stated, but the one that has refused the call
// rather than any other.
func (l limitHeaders) set(h http.Header, states []limits.State, met *limits.Exceeded, now time.Time) {
	for name := range h {
		if strings.HasPrefix(name, l.prefix) {
			delete(h, name)
		}
	}
	tightest := map[limits.Kind]limits.State{}
	for _, state := range states {
		least, ok := tightest[state.Rule.Kind]
		if ok && met != nil && least.Rule == met.Rule {
			continue
		}
		if !ok || state.Remaining() < least.Remaining() || met != nil && state.Rule == met.Rule {
			tightest[state.Rule.Kind] = state
		}
	}
	for kind, state := range tightest {
		if name, ok := headerKinds[kind]; ok {
			h.Set(l.name(l.prefix, "Limit", name), strconv.FormatInt(state.Rule.Amount, 10))
			h.Set(l.name(l.prefix, "Remaining", name), strconv.FormatInt(state.Remaining(), 10))
			h.Set(l.name(l.prefix, "Reset", name), l.reset(now, state.Reset))
		}
	}
}

// limitWriter states a client's limits in the head of its answer.
type limitWriter struct {
	*caddyhttp.ResponseWriterWrapper
	quota   *quota
	headers limitHeaders
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
