// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// fact is a fact as it is told. Times are how long ago they were, or how far
// off they are, in milliseconds: the clocks of instances may differ.
type fact struct {
	Provider string `json:"provider"`
	// Key is the fingerprint of the key that it is about, or Place that of where
	// the provider is.
	Key     string `json:"key,omitempty"`
	Place   string `json:"place,omitempty"`
	Kind    string `json:"kind"`
	Model   string `json:"model,omitempty"`
	Whole   bool   `json:"whole,omitempty"`
	Class   string `json:"class,omitempty"`
	Since   int64  `json:"since_ms,omitempty"`
	Left    int64  `json:"left_ms,omitempty"`
	Stated  int64  `json:"stated_ms,omitempty"`
	Strikes int    `json:"strikes,omitempty"`
	Again   bool   `json:"again,omitempty"`
}

// use is what was taken of a key's limits.
type use struct {
	Provider string `json:"provider"`
	Key      string `json:"key"`
	Requests int64  `json:"requests,omitempty"`
	Tokens   int64  `json:"tokens,omitempty"`
	// RequestsFull and TokensFull are when all of the limits is there again.
	RequestsFull int64 `json:"requests_full_ms,omitempty"`
	TokensFull   int64 `json:"tokens_full_ms,omitempty"`
}

// pin is an object and the id of the key that made it.
type pin struct {
	Provider string `json:"provider"`
	Object   string `json:"object"`
	Key      string `json:"key"`
}

// write returns f as it is told now.
func write(f keypool.Fact, now time.Time) fact {
	text := fact{
		Kind: f.Kind.String(), Model: f.Model, Whole: f.Whole, Since: apart(f.Since, now),
		Left: apart(now, f.Until), Stated: apart(now, f.Stated), Strikes: f.Strikes, Again: f.Again,
	}
	if f.Kind == keypool.FactRest {
		text.Class = f.Class.String()
	}
	return text
}

// read returns the fact that was told at that time. It reports false if it
// makes no sense.
func (f *fact) read(at time.Time) (keypool.Fact, bool) {
	heard := keypool.Fact{
		Model: f.Model, Whole: f.Whole, Since: at.Add(-span(f.Since)), Until: at.Add(span(f.Left)),
		Strikes: f.Strikes, Again: f.Again,
	}
	for kind := keypool.FactRest; kind <= keypool.FactEnabled; kind++ {
		if kind.String() == f.Kind {
			heard.Kind = kind
		}
	}
	known := heard.Kind != 0
	if heard.Kind == keypool.FactRest {
		heard.Class, known = keypool.ClassNamed(f.Class)
	}
	if f.Stated > 0 {
		heard.Stated = at.Add(span(f.Stated))
	}
	return heard, known
}

// maxSpan bounds what is heard of times.
const maxSpan = 400 * 24 * time.Hour

// apart returns how long it is from one time to another, in milliseconds, and
// nothing if that is over.
func apart(from, to time.Time) int64 {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(0, min(to.Sub(from), maxSpan).Milliseconds())
}

// span is the reverse.
func span(millis int64) time.Duration {
	return time.Duration(min(max(millis, 0), maxSpan.Milliseconds())) * time.Millisecond
}
