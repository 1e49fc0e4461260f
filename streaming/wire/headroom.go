// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strconv"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// window names the headers that state one limit.
type window struct{ limit, remaining, reset string }

// openAIWindow and anthropicWindow name a limit the way of the two families,
// which the others follow.
func openAIWindow(what string) window {
	return window{"X-Ratelimit-Limit" + what, "X-Ratelimit-Remaining" + what, "X-Ratelimit-Reset" + what}
}

func anthropicWindow(what string) window {
	const prefix = "Anthropic-Ratelimit-"
	return window{prefix + what + "-Limit", prefix + what + "-Remaining", prefix + what + "-Reset"}
}

// The windows that bound a key's requests and tokens. The ones without a word
// behind them are Together's and OpenRouter's.
var (
	requestWindows = []window{openAIWindow("-Requests"), openAIWindow(""), anthropicWindow("Requests")}
	tokenWindows   = []window{
		openAIWindow("-Tokens"), anthropicWindow("Tokens"),
		anthropicWindow("Input-Tokens"), anthropicWindow("Output-Tokens"),
	}
)

// ReadHeadroom reads what the headers of an answer, that came now, say is left
// of the key's limits.
func ReadHeadroom(h http.Header, now time.Time) keypool.Headroom {
	return keypool.Headroom{Requests: tightest(h, requestWindows, now), Tokens: tightest(h, tokenWindows, now), At: now}
}

// tightest returns the window with the smallest share left.
func tightest(h http.Header, windows []window, now time.Time) keypool.Allowance {
	var least keypool.Allowance
	for i := range windows {
		a, ok := windows[i].read(h, now)
		if ok && (least.Limit == 0 || float64(a.Remaining)*float64(least.Limit) < float64(least.Remaining)*float64(a.Limit)) {
			least = a
		}
	}

	return least
}

// read reports false if the headers do not tell what is left.
func (w *window) read(h http.Header, now time.Time) (keypool.Allowance, bool) {
	remaining, ok := parseAmount(h[w.remaining])
	if !ok {
		return keypool.Allowance{}, false
	}
	limit, _ := parseAmount(h[w.limit])
	a := keypool.Allowance{Remaining: remaining, Limit: max(limit, remaining, 1), ResetAt: now}
	if values := h[w.reset]; len(values) > 0 {
		if wait := parseWait(values[0], now); wait <= maxWait {
			a.ResetAt = now.Add(wait)
		}
	}

	return a, true
}

// parseAmount reads a number that is not negative. Of a list the first counts.
func parseAmount(values []string) (int64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(firstOf(values[0]), 64)
	if err != nil || !(n >= 0 && n < 1e15) {
		return 0, false
	}

	return int64(n), true
}
