// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
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
		"an old date":          {[]string{"Retry-After", "Mon Nov 23 20:01:00 2026"}, ``, time.Minute},
		"a date, twice":        {[]string{"Retry-After", "Mon, 23 Nov 2026 20:01:00 GMT, Mon, 23 Nov 2026 20:01:00 GMT"}, ``, time.Minute},
		"seconds, twice":       {[]string{"Retry-After", "7, 7"}, ``, 7 * time.Second},
		"thousandths, twice":   {[]string{"Retry-After-Ms", "250,250"}, ``, 250 * time.Millisecond},
		"a fraction of them":   {[]string{"Retry-After-Ms", "250.5"}, ``, 250500 * time.Microsecond},
		"an epoch":             {[]string{"Retry-After", "1795464030"}, ``, 30 * time.Second},
		"a duration":           {[]string{"Retry-After", "1m30s"}, ``, 90 * time.Second},
		"zero delay":           {nil, `{"error":{"message":"Please retry in 3s.","details":[{"retryDelay":"0s"}]}}`, 3 * time.Second},
		"metric per day":       {nil, `{"error":{"details":[{"violations":[{"quotaMetric":"generate_requests_per_model_per_day"}]}]}}`, 12 * time.Hour},
		"quota per minute":     {nil, `{"error":{"details":[{"violations":[{"quotaId":"GenerateRequestsPerMinutePerProject"}]},{"retryDelay":"9s"}]}}`, 9 * time.Second},
		"a plan of ChatGPT":    {nil, `{"error":{"type":"usage_limit_reached","resets_in_seconds":5400}}`, 90 * time.Minute},
		"another gateway":      {nil, `{"error":{"message":"slow down","retry_after":12.5}}`, 12500 * time.Millisecond},
		"five hours' window":   {[]string{"Anthropic-Ratelimit-Unified-5h-Status", "rejected", "Anthropic-Ratelimit-Unified-5h-Reset", "1795467600", "Anthropic-Ratelimit-Unified-7d-Status", "allowed", "Anthropic-Ratelimit-Unified-7d-Reset", "1795900000"}, ``, time.Hour},
		"beyond the plan":      {[]string{"Anthropic-Ratelimit-Unified-Overage-Status", "rejected", "Anthropic-Ratelimit-Unified-Overage-Reset", "1795900000"}, ``, 0},
		"plain windows":        {[]string{"Ratelimit-Remaining", "0", "Ratelimit-Reset", "45"}, ``, 45 * time.Second},
		"Mistral's":            {[]string{"Ratelimitbysize-Remaining", "0", "Ratelimitbysize-Reset", "9"}, ``, 9 * time.Second},
		"Cerebras' day":        {[]string{"X-Ratelimit-Remaining-Requests-Day", "0", "X-Ratelimit-Reset-Requests-Day", "33011.5"}, ``, 33011500 * time.Millisecond},
		"an exhausted zero":    {[]string{"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "0s"}, `{"message":"try again in 2s"}`, 2 * time.Second},
		"the window it names":  {[]string{"X-Ratelimit-Remaining-Tokens", "400", "X-Ratelimit-Reset-Tokens", "8.5s", "X-Ratelimit-Remaining-Requests", "9", "X-Ratelimit-Reset-Requests", "6m0s"}, `{"error":{"type":"tokens","code":"rate_limit_exceeded","message":"Rate limit reached"}}`, 8500 * time.Millisecond},
		"words before windows": {[]string{"X-Ratelimit-Remaining-Tokens", "400", "X-Ratelimit-Reset-Tokens", "8.5s"}, `{"error":{"type":"tokens","message":"Please try again in 1.2s."}}`, 1200 * time.Millisecond},
		"after a second":       {nil, `{"error":{"message":"reached organization max RPM: 3, please try again after 1 seconds"}}`, time.Second},
		"GitHub's words":       {nil, `{"error":{"message":"Rate limit of 10 per 60s exceeded. Please wait 43 seconds before retrying."}}`, 43 * time.Second},
		"available":            {nil, `{"detail":"Request was throttled. Expected available in 30 seconds."}`, 30 * time.Second},
		"resets":               {nil, `{"error":"Limit reached; it resets in 2m."}`, 2 * time.Minute},
		"a period is no wait":  {nil, `{"error":"Limit reached; it resets every 24 hours"}`, 0},
		"the words of HTML":    {nil, `<html>try again in 5 minutes</html>`, 0},
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

// A month's limit opens on the first of the next, also in December, and a day's
// at midnight in California, in summer and in winter.
func TestRenewalsFollowTheCalendar(t *testing.T) {
	const spend = `{"error":{"details":{"error_code":"enforced_spend_limit_reached"}}}`
	const daily = `{"error":{"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}`
	for _, test := range []struct{ now, body, want string }{
		{"2026-12-31T23:00:00Z", spend, "2027-01-01T00:00:00Z"},
		{"2026-02-01T00:00:00Z", spend, "2026-03-01T00:00:00Z"},
		{"2026-01-15T07:59:59Z", daily, "2026-01-15T08:00:00Z"},
		{"2026-01-15T08:00:00Z", daily, "2026-01-16T08:00:00Z"},
		{"2026-07-15T12:00:00Z", daily, "2026-07-16T07:00:00Z"},
		{"2026-03-08T12:00:00Z", daily, "2026-03-09T07:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		verdict := new(wire.Request).Judge(429, http.Header{}, []byte(test.body), now)
		if got := now.Add(verdict.Wait).UTC().Format(time.RFC3339); got != test.want {
			t.Errorf("at %s: opens at %s, want %s", test.now, got, test.want)
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

// What a client may go by is what a wait can be.
func TestOddWaitsAreDropped(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, values := range map[string][]string{
		"Retry-After":    {"0", "7", " 7 ", "1.5", "86400", "Thu, 26 Nov 2026 12:00:01 GMT"},
		"Retry-After-Ms": {"0", "1500", "12.5"},
	} {
		for _, value := range values {
			h := http.Header{name: {value}}
			if wire.DropOddWaits(h, now); h.Get(name) != value {
				t.Errorf("%s %q is dropped", name, value)
			}
		}
	}
	for name, values := range map[string][]string{
		"Retry-After": {
			"", "NaN", "Inf", "-5", "1e30", "1e3", "0x10", "1795694400", "99999999999999999999", "soon", "6m0s", "5, 6",
			"Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 26 Nov 2026 12:00:00 GMT", "Thu, 26 Nov 2099 12:00:00 GMT",
		},
		"Retry-After-Ms": {"-1", "NaN", "99999999999999"},
	} {
		for _, value := range values {
			h := http.Header{name: {value}}
			if wire.DropOddWaits(h, now); len(h) > 0 {
				t.Errorf("%s %q is kept", name, value)
			}
		}
	}
	h := http.Header{"Retry-After": {"5", "-5"}}
	if wire.DropOddWaits(h, now); len(h) > 0 {
		t.Errorf("one of two is odd: %v", h)
	}
}
