// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// What is left of a key's limits is read in every shape that providers use.
func TestReadHeadroom(t *testing.T) {
	now := time.Date(2026, 3, 15, 8, 58, 0, 0, time.UTC)
	left := func(remaining, limit int64, reset time.Duration) keypool.Allowance {
		return keypool.Allowance{Remaining: remaining, Limit: limit, ResetAt: now.Add(reset)}
	}
	for name, test := range map[string]struct {
		headers  map[string]string
		requests keypool.Allowance
		tokens   keypool.Allowance
	}{
		"nothing": {headers: map[string]string{"Retry-After": "20"}},
		"OpenAI": {
			headers: map[string]string{
				"x-ratelimit-limit-requests": "5000", "x-ratelimit-remaining-requests": "4999", "x-ratelimit-reset-requests": "12ms",
				"x-ratelimit-limit-tokens": "800000", "x-ratelimit-remaining-tokens": "799980", "x-ratelimit-reset-tokens": "1h2m3s",
			},
			requests: left(4999, 5000, 12*time.Millisecond),
			tokens:   left(799980, 800000, time.Hour+2*time.Minute+3*time.Second),
		},
		"Groq": {
			headers: map[string]string{
				"x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "14370", "x-ratelimit-reset-requests": "2m59.56s",
				"x-ratelimit-limit-tokens": "18000", "x-ratelimit-remaining-tokens": "17997", "x-ratelimit-reset-tokens": "7.66s",
			},
			requests: left(14370, 14400, 2*time.Minute+59*time.Second+560*time.Millisecond),
			tokens:   left(17997, 18000, 7*time.Second+660*time.Millisecond),
		},
		"Azure counts in seconds": {
			headers: map[string]string{
				"x-ratelimit-limit-tokens": "60000", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "26",
			},
			tokens: left(0, 60000, 26*time.Second),
		},
		"OpenRouter names the moment in milliseconds": {
			headers: map[string]string{
				"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1773565140000",
			},
			requests: left(3, 20, time.Minute),
		},
		"Anthropic": {
			headers: map[string]string{
				"anthropic-ratelimit-requests-limit": "4000", "anthropic-ratelimit-requests-remaining": "3999",
				"anthropic-ratelimit-requests-reset": "2026-03-15T08:58:28Z",
				"anthropic-ratelimit-tokens-limit":   "480000", "anthropic-ratelimit-tokens-remaining": "480000",
				"anthropic-ratelimit-tokens-reset":       "2026-03-15T08:58:00Z",
				"anthropic-ratelimit-input-tokens-limit": "400000", "anthropic-ratelimit-input-tokens-remaining": "390000",
				"anthropic-ratelimit-input-tokens-reset":  "2026-03-15T08:58:02Z",
				"anthropic-ratelimit-output-tokens-limit": "80000", "anthropic-ratelimit-output-tokens-remaining": "8000",
				"anthropic-ratelimit-output-tokens-reset": "2026-03-15T08:58:54Z",
			},
			requests: left(3999, 4000, 28*time.Second),
			tokens:   left(8000, 80000, 54*time.Second),
		},
		"joined duplicates": {
			headers: map[string]string{
				"x-ratelimit-limit-requests": "100, 100", "x-ratelimit-remaining-requests": "7, 7", "x-ratelimit-reset-requests": "6s, 6s",
			},
			requests: left(7, 100, 6*time.Second),
		},
		"no limit and no reset": {
			headers:  map[string]string{"x-ratelimit-remaining-requests": "7"},
			requests: left(7, 7, 0),
		},
		"nothing left of what is not told": {
			headers:  map[string]string{"x-ratelimit-remaining-requests": "0"},
			requests: left(0, 1, 0),
		},
		"not numbers": {headers: map[string]string{
			"x-ratelimit-remaining-requests": "plenty", "x-ratelimit-remaining-tokens": "-1",
			"anthropic-ratelimit-tokens-remaining": "NaN", "x-ratelimit-remaining": "1e300",
		}},
		"a reset beyond belief": {
			headers: map[string]string{
				"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "99999h",
			},
			requests: left(1, 10, 0),
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			for header, value := range test.headers {
				h.Set(header, value)
			}
			got := ReadHeadroom(h, now)
			if got.Requests != test.requests || got.Tokens != test.tokens || !got.At.Equal(now) {
				t.Errorf("got %+v, want %+v and %+v", got, test.requests, test.tokens)
			}
		})
	}
}
