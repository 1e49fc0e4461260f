// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// maxWait is the longest wait that is believed: quotas are renewed monthly at
// the latest.
const maxWait = 31 * 24 * time.Hour

// wait is how long the provider asks to be left alone, from the most trusted
// source that says so; 0 if none does.
func (f *fault) wait(class keypool.Class, now time.Time) time.Duration {
	sources := []func(time.Time) time.Duration{f.retryAfter, f.googleQuota}
	if class == keypool.ClassRateLimited || class == keypool.ClassQuota {
		sources = append(sources, f.exhaustedWindow, f.renewal)
	}
	sources = append(sources, f.textWait)
	if class == keypool.ClassRateLimited {
		sources = append(sources, f.namedWindow)
	}
	for _, source := range sources {
		if wait := source(now); wait > 0 && wait <= maxWait {
			return wait
		}
	}

	return 0
}

// retryAfter reads Retry-After and the more precise header beside it. Azure
// sends a 0 in one and a wait in the other, so the longer counts.
func (f *fault) retryAfter(now time.Time) time.Duration {
	wait := parseWait(f.header.Get("Retry-After"), now)
	if ms := firstOf(f.header.Get("Retry-After-Ms")); isNumber(ms) {
		wait = max(wait, parseWait(ms+"ms", now))
	}

	return wait
}

// pacific is where Google's days begin. Without a time zone database it is an
// hour off in summer, on the late side.
var pacific = func() *time.Location {
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		return time.FixedZone("PST", -8*60*60)
	}

	return zone
}()

// googleQuota reads a google.rpc.RetryInfo. A quota per day is renewed at
// midnight whatever the delay beside it says.
func (f *fault) googleQuota(now time.Time) time.Duration {
	if !f.daily {
		return f.retryDelay
	}
	local := now.In(pacific)
	midnight := time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, 0, pacific)

	return max(f.retryDelay, midnight.Sub(now))
}

// exhaustedWindow reads the headers that state rate-limit windows. The windows
// with something left did not cause the refusal and say nothing about its end.
func (f *fault) exhaustedWindow(now time.Time) time.Duration {
	var longest time.Duration
	for _, header := range []http.Header{f.header, f.windows} {
		for name, values := range header {
			name = strings.ToLower(name)
			// What may be used beyond a plan's windows is a window of its own kind.
			if !strings.Contains(name, "ratelimit") || !strings.Contains(name, "reset") || strings.Contains(name, "overage") || len(values) == 0 {
				continue
			}
			left := header.Get(strings.Replace(name, "reset", "remaining", 1))
			state := header.Get(strings.Replace(name, "reset", "status", 1))
			if wait := parseWait(values[0], now); (isExhausted(left) || state == "rejected") && wait <= maxWait {
				longest = max(longest, wait)
			}
		}
	}

	return longest
}

// namedWindow reads the reset of the window that the error names, in which
// something is left, but not enough for this request. So it is an upper bound.
func (f *fault) namedWindow(now time.Time) time.Duration {
	for _, what := range []string{"requests", "tokens"} {
		if slices.Contains(f.words, what) {
			return parseWait(f.header.Get("X-Ratelimit-Reset-"+what), now)
		}
	}

	return 0
}

// isExhausted tells whether what is left of a window is nothing.
func isExhausted(left string) bool {
	n, err := strconv.ParseFloat(firstOf(left), 64)

	return err == nil && n <= 0
}

// accessAgain finds the moment in Anthropic's "You will regain access on
// 2026-12-01 at 00:00 UTC", and resetAt that in Zhipu's "will reset at
// 2026-12-01 08:00:00", which is told in Chinese time.
var (
	accessAgain = regexp.MustCompile(`regain access on (\d{4}-\d\d-\d\d) at (\d\d:\d\d) utc`)
	resetAt     = regexp.MustCompile(`reset at (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)`)
	beijing     = time.FixedZone("CST", 8*60*60)
)

// renewal reads when a spent quota is filled again.
func (f *fault) renewal(now time.Time) time.Duration {
	for _, word := range f.words {
		if strings.EqualFold(word, "enforced_spend_limit_reached") {
			// Anthropic's monthly limit opens on the first of the next month.
			utc := now.UTC()

			return time.Date(utc.Year(), utc.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now)
		}
	}
	if m := accessAgain.FindStringSubmatch(f.text); m != nil {
		if at, err := time.Parse("2006-01-02 15:04", m[1]+" "+m[2]); err == nil {
			return at.Sub(now)
		}
	}
	if m := resetAt.FindStringSubmatch(f.text); m != nil {
		if at, err := time.ParseInLocation(time.DateTime, m[1]+" "+m[2], beijing); err == nil {
			return at.Sub(now)
		}
	}

	return 0
}

// A wait in a message follows a word that tells it from other durations, such
// as a window's: "try again in 6m0s", "retry after 26 seconds".
var (
	spokenWait = regexp.MustCompile(`\b(?:again|retry|wait|(?:resets?|available) in)\b[^.\n\d]{0,40}?((?:` + part + `[\s,]*(?:and\s+)?)+)(?:\W|$)`)
	waitPart   = regexp.MustCompile(part)
)

const part = `(\d+(?:\.\d+)?)\s*(milliseconds?|ms|minutes?|mins?|m|seconds?|secs?|s|hours?|hrs?|h|days?|d)`

// textWait reads a wait from the message.
func (f *fault) textWait(time.Time) time.Duration {
	m := spokenWait.FindStringSubmatch(f.text)
	if m == nil {
		return 0
	}

	return sumUnits(m[1])
}

// plainNumber and goDuration are shapes of stated waits; 6m0s and 1h2m3.5s
// are what OpenAI and Groq send.
var (
	plainNumber = regexp.MustCompile(`^\d+(?:\.\d*)?$|^\.\d+$`)
	goDuration  = regexp.MustCompile(`^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$`)
)

func isNumber(s string) bool { return plainNumber.MatchString(s) }

// longWait is from which wait on an SDK should not try again by itself: it would
// let its caller wait for all of it, and have a timeout in the end.
const longWait = time.Minute

// StateWait tells a client in an answer's header when to come back, in whole
// seconds, rounded up, if there is a wait. Source of X-Should-Retry: the SDKs
// of OpenAI and Anthropic, which obey it.
func StateWait(h http.Header, wait time.Duration) {
	if wait <= 0 {
		return
	}
	h.Set("Retry-After", strconv.FormatInt(Error{RetryAfter: wait}.RetrySeconds(), 10))
	if wait > longWait {
		h.Set("X-Should-Retry", "false")
	}
}

// DropOddWaits takes out of an answer's header what states a wait that makes no
// sense, or is longer than any that is believed: clients may go by it.
func DropOddWaits(h http.Header, now time.Time) {
	dropOddWait(h, "Retry-After", time.Second, now)
	dropOddWait(h, "Retry-After-Ms", time.Millisecond, now)
}

func dropOddWait(h http.Header, name string, unit time.Duration, now time.Time) {
	if slices.ContainsFunc(h[name], func(value string) bool { return !isWait(strings.TrimSpace(value), unit, now) }) {
		delete(h, name)
	}
}

// isWait tells whether a text is a number of units that may be waited, or a date
// until which one may wait.
func isWait(s string, unit time.Duration, now time.Time) bool {
	if isNumber(s) {
		n, err := strconv.ParseFloat(s, 64)

		return err == nil && n*unit.Seconds() <= maxWait.Seconds()
	}
	at, err := http.ParseTime(s)

	return err == nil && at.After(now) && at.Sub(now) <= maxWait
}

// parseWait reads a wait by its shape: seconds, a duration with units, a date,
// or the moment of the reset in seconds or milliseconds since 1970. Of a list
// joined by commas the first counts. Anything else, and the past, is 0.
func parseWait(s string, now time.Time) time.Duration {
	if at, err := http.ParseTime(firstDate(s)); err == nil {
		return max(0, at.Sub(now))
	}
	s = firstOf(s)
	switch {
	case isNumber(s):
		n, err := strconv.ParseFloat(s, 64)
		switch {
		case err != nil || n >= 1e14:
			return 0
		case n >= 1e11:
			return max(0, time.UnixMilli(int64(n)).Sub(now))
		case n >= 1e9:
			return max(0, time.Unix(int64(n), 0).Sub(now))
		}

		return seconds(n)
	case goDuration.MatchString(s):
		return sumUnits(s)
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0
	}

	return max(0, at.Sub(now))
}

// firstOf returns the first of the values that a list joins by commas, as is
// done to a header that was sent twice.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")

	return strings.TrimSpace(first)
}

// firstDate does so for dates, most of which have a comma of their own.
func firstDate(list string) string {
	day, rest, _ := strings.Cut(list, ",")
	if rest == "" {
		return strings.TrimSpace(day)
	}

	return strings.TrimSpace(day) + ", " + firstOf(rest)
}

// sumUnits adds up the parts of a duration such as "1h2m3.5s" or "2 minutes
// and 5 seconds".
func sumUnits(s string) time.Duration {
	var sum float64
	for _, m := range waitPart.FindAllStringSubmatch(s, 8) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0
		}
		sum += n * unitSeconds(m[2])
	}

	return seconds(sum)
}

// unitSeconds is the length of a unit, of which the first letter tells all
// but thousandths from minutes.
func unitSeconds(unit string) float64 {
	switch {
	case strings.HasPrefix(unit, "ms"), strings.HasPrefix(unit, "mil"):
		return 0.001
	case unit[0] == 'm':
		return 60
	case unit[0] == 'h':
		return 60 * 60
	case unit[0] == 'd':
		return 24 * 60 * 60
	}

	return 1
}

// seconds converts n, which is not negative, without overflow.
func seconds(n float64) time.Duration {
	return time.Duration(min(n, 2*maxWait.Seconds()) * float64(time.Second))
}
