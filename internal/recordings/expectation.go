// SPDX-License-Identifier: Apache-2.0

package recordings

import (
	"slices"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Expectation is what a recorded answer is known to say.
type Expectation struct {
	Provider string
	// API is the format, such as "openai.chat", or "compat.chat" for that of
	// somebody else.
	API    string
	Status int `json:"http_status"`
	Format string
	// Stream says that the answer came event by event.
	Stream   bool `json:"is_stream"`
	Encoding string

	// RequestModel and PathModel are the model that was asked for.
	RequestModel string `json:"request_model"`
	PathModel    string `json:"url_model"`

	Model            string
	FinishReason     any `json:"finish_reason"`
	FinishReasons    any `json:"finish_reasons"`
	Events           *int
	FirstOutputEvent *int `json:"first_output_event"`
	DoneMarker       bool `json:"done_marker"`

	// StreamError and BodyError are an error that came under a status of
	// success.
	StreamError any    `json:"stream_error"`
	BodyError   any    `json:"body_error"`
	ErrorClass  string `json:"error_class"`
	// Hints are the waits that an error states.
	Hints []struct {
		Seconds float64
	} `json:"cooldown_hints"`

	Raw any `json:"usage_raw"`
	// Usage is what is to be found, unless one of the others is; see Usages.
	Usage       Usage   `json:"usage"`
	IfMerged    Usage   `json:"usage_if_merged"`
	FromHeaders Usage   `json:"usage_from_headers"`
	FromMetrics Usage   `json:"usage_from_metrics"`
	PerResponse []Usage `json:"usage_per_response"`
	PerMessage  []Usage `json:"usage_per_message"`
}

// Usage is what an answer took, by what is counted.
type Usage map[string]any

// Count returns how much of something was used; stated is false where the
// answer does not say.
func (u Usage) Count(what string) (n float64, stated bool) {
	n, stated = u[what].(float64)

	return n, stated
}

// HasTokens tells whether tokens are stated, and not a price or a duration
// alone.
func (u Usage) HasTokens() bool {
	for what := range u {
		if what != "cost" && what != "seconds" {
			return true
		}
	}

	return false
}

// Usages returns the readings of the usage of which one is to be found: some
// answers state it in several places, and differently. An empty one says that
// nothing is stated.
func (want Expectation) Usages() []Usage {
	usages := []Usage{want.FromMetrics, want.FromHeaders, want.IfMerged, want.Turns(), want.Usage}
	usages = slices.DeleteFunc(usages, func(u Usage) bool { return u == nil })
	if len(usages) == 0 {
		usages = []Usage{{}}
	}

	return usages
}

// Turns adds up what the turns of a session took; nil if there were none.
func (want Expectation) Turns() Usage {
	var total Usage
	for _, turn := range slices.Concat(want.PerResponse, want.PerMessage) {
		for what := range turn {
			if total == nil {
				total = Usage{}
			}
			so, _ := total.Count(what)
			more, _ := turn.Count(what)
			total[what] = so + more
		}
	}

	return total
}

// Finish returns why the answer ended, of a session why its last turn did; nil
// if that is not said.
func (want Expectation) Finish() any {
	if turns, ok := want.FinishReasons.([]any); ok && want.Format == "websocket" && len(turns) > 0 {
		return turns[len(turns)-1]
	}

	return want.FinishReason
}

// FailedInside tells whether the answer reports an error in spite of its
// status.
func (want Expectation) FailedInside() bool { return want.StreamError != nil || want.BodyError != nil }

// Class returns our word for the class of an error; known is false for one
// that there is no word for.
func (want Expectation) Class() (class keypool.Class, known bool) {
	class, known = classes[want.ErrorClass]

	return class, known
}

// classes are the recordings' names of what we call otherwise.
var classes = map[string]keypool.Class{
	"invalid_key":              keypool.ClassCredential,
	"quota_exhausted":          keypool.ClassQuota,
	"rate_limited":             keypool.ClassRateLimited,
	"request_exceeds_key_tier": keypool.ClassTier,
	"upstream_overloaded":      keypool.ClassOverloaded,
	"upstream_rate_limited":    keypool.ClassOverloaded,
	"upstream_error":           keypool.ClassUpstream,
	"key_no_permission":        keypool.ClassAccess,
	"model_not_found":          keypool.ClassModel,
	"context_length":           keypool.ClassContext,
	"content_filter":           keypool.ClassPolicy,
	"region_unsupported":       keypool.ClassRegion,
	"client_error":             keypool.ClassCaller,
	"endpoint_not_found":       keypool.ClassCaller,
}
