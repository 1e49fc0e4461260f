// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/http"
	"testing"
	"time"
)

func TestStatedWaitIsFound(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		header []string // name, value, name, value …
		body   string
		want   time.Duration
	}{
		"nothing":              {nil, ``, 0},
		"seconds":              {[]string{"Retry-After", "7"}, ``, 7 * time.Second},
		"fraction":             {[]string{"Retry-After", "0.5"}, ``, 500 * time.Millisecond},
		"long":                 {[]string{"Retry-After", "7999"}, ``, 7999 * time.Second},
		"date":                 {[]string{"Retry-After", "Mon, 23 Nov 2026 20:01:00 GMT"}, ``, time.Minute},
		"past date":            {[]string{"Retry-After", "Mon, 23 Nov 2026 19:59:00 GMT"}, ``, 0},
		"milliseconds":         {[]string{"Retry-After-Ms", "250"}, ``, 250 * time.Millisecond},
		"the longer counts":    {[]string{"Retry-After-Ms", "0", "Retry-After", "1"}, ``, time.Second},
		"zero is absent":       {[]string{"Retry-After", "0"}, `{"message":"retry after 3 seconds"}`, 3 * time.Second},
		"negative":             {[]string{"Retry-After", "-3"}, ``, 0},
		"not a number":         {[]string{"Retry-After", "NaN"}, ``, 0},
		"infinite":             {[]string{"Retry-After", "Inf"}, ``, 0},
		"overflowing":          {[]string{"Retry-After", "99999999999999999999"}, ``, 0},
		"absurd":               {[]string{"Retry-After", "99999999"}, `{"message":"retry after 3 seconds"}`, 3 * time.Second},
		"header before body":   {[]string{"Retry-After", "7"}, `{"message":"retry after 3 seconds"}`, 7 * time.Second},
		"RetryInfo":            {nil, `[{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34.4s"}]}}]`, 34400 * time.Millisecond},
		"quota per day":        {nil, `{"error":{"details":[{"violations":[{"quotaId":"RequestsPerDay-FreeTier"}]},{"retryDelay":"9s"}]}}`, 12 * time.Hour},
		"spend limit":          {nil, `{"error":{"details":{"error_code":"enforced_spend_limit_reached"}}}`, 7*day + 4*time.Hour},
		"regained access":      {nil, `{"error":{"message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."}}`, 7*day + 4*time.Hour},
		"Zhipu's window":       {nil, `{"error":{"code":"1308","message":"Your limit will reset at 2026-11-24 05:00:00"}}`, time.Hour},
		"exhausted requests":   {[]string{"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "6m0s", "X-Ratelimit-Remaining-Tokens", "5", "X-Ratelimit-Reset-Tokens", "9h"}, ``, 6 * time.Minute},
		"nothing exhausted":    {[]string{"X-Ratelimit-Remaining-Requests", "1", "X-Ratelimit-Reset-Requests", "6m0s"}, ``, 0},
		"the longest window":   {[]string{"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "130ms", "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "1h2m3.5s"}, ``, time.Hour + 2*time.Minute + 3500*time.Millisecond},
		"bare seconds":         {[]string{"X-Ratelimit-Remaining-Tokens", "0,0", "X-Ratelimit-Reset-Tokens", "20,21"}, ``, 20 * time.Second},
		"seconds since 1970":   {[]string{"X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "1795464030"}, ``, 30 * time.Second},
		"thousandths":          {[]string{"X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "1795464030000"}, ``, 30 * time.Second},
		"in the body":          {nil, `{"error":{"metadata":{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795464030000"}}}}`, 30 * time.Second},
		"Anthropic":            {[]string{"Anthropic-Ratelimit-Input-Tokens-Remaining", "0", "Anthropic-Ratelimit-Input-Tokens-Reset", "2026-11-23T20:00:40Z"}, ``, 40 * time.Second},
		"Anthropic plan":       {[]string{"Anthropic-Ratelimit-Unified-Status", "rejected", "Anthropic-Ratelimit-Unified-Reset", "1795467600"}, ``, time.Hour},
		"minutes and seconds":  {nil, `{"error":{"message":"Please try again in 9m38.016s. Visit"}}`, 9*time.Minute + 38016*time.Millisecond},
		"thousandths in words": {nil, `{"error":{"message":"Please try again in 644ms."}}`, 644 * time.Millisecond},
		"Google's words":       {nil, `{"error":{"message":"limit: 5\nPlease retry in 48.939935699s."}}`, 48939935699 * time.Nanosecond},
		"spelled out":          {nil, `{"error":{"message":"please wait 2 minutes and 5 seconds"}}`, 125 * time.Second},
		"another duration":     {nil, `{"error":{"message":"Limit 60 requests per 1 minute. Try again later. See 5 messages"}}`, 0},
	} {
		h := http.Header{}
		for i := 0; i < len(test.header); i += 2 {
			h.Set(test.header[i], test.header[i+1])
		}
		got := judge(429, h, test.body)
		if diff := got.Wait - test.want; diff < -time.Microsecond || diff > time.Microsecond {
			t.Errorf("%s: got %v, want %v (%s)", name, got.Wait, test.want, got.Class)
		}
	}
}

func TestWaitIsOnlyForWhatIsTriedAgain(t *testing.T) {
	h := http.Header{"Retry-After": {"9"}}
	for status, want := range map[int]time.Duration{200: 0, 400: 0, 413: 0, 429: 9 * time.Second, 503: 9 * time.Second, 529: 9 * time.Second} {
		if got := judge(status, h, ``); got.Wait != want {
			t.Errorf("%d: got %v", status, got.Wait)
		}
	}
	if got := judge(200, h, `{"error":{"code":"rate_limit_exceeded"}}`); got.Wait != 0 {
		t.Errorf("the header of a success was believed: %v", got.Wait)
	}
}
