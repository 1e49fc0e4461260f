// SPDX-License-Identifier: Apache-2.0

// Package ledger keeps one record of each call, in sinks of the operator's
// choice: a log, a file, a Redis stream, or what a module of another's brings.
//
// Records are written behind the calls' backs: a call hands its record over
// and goes on. They are written in order and in batches, and as many wait as
// there is room for; what is more than that is counted, and lost. No record
// has anything of what was asked or answered.
package ledger

import "time"

// Record is what is kept of one call. What is not known of it is left out.
type Record struct {
	// Time is when the call came in.
	Time time.Time `json:"time"`
	// ID is the request id, which the client was told of in errors and which
	// stands in the log.
	ID string `json:"id"`
	// Client is the id of who called.
	Client string `json:"client,omitempty"`
	// Metadata are what operators want to know of the client. They are shared
	// and must not be changed.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Operation is what was asked, such as "openai.chat".
	Operation string `json:"operation,omitempty"`
	// Model is what the client asked for, TargetModel what the provider was
	// asked for, and ModelAnswered what it says has answered.
	Model         string `json:"model,omitempty"`
	TargetModel   string `json:"target_model,omitempty"`
	ModelAnswered string `json:"model_answered,omitempty"`
	// Stream says that a stream was asked for.
	Stream bool `json:"stream"`
	// Provider and Key name the last attempt's.
	Provider string `json:"provider,omitempty"`
	Key      string `json:"key,omitempty"`
	// Attempts are key:class:milliseconds; of more than 32 the first 31 and the
	// last.
	Attempts []string `json:"attempts,omitempty"`
	// Outcome is how the call ended; see [streaming.Outcome].
	Outcome string `json:"outcome"`
	// Code is that of the error which the gateway itself has given the client.
	Code string `json:"code,omitempty"`
	// Status is the HTTP status that the client was given; 0 if it was gone.
	Status int `json:"status,omitempty"`
	// Finish is the provider's word for why the answer ended, FinishReason the
	// same in a common language.
	Finish       string `json:"finish,omitempty"`
	FinishReason string `json:"finish_reason,omitempty"`

	// Usage is nil where nothing is known of it.
	Usage *Usage `json:"usage,omitempty"`
	// Cost is in US dollars; nil where the price is not known, which is not
	// the same as nothing.
	Cost *float64 `json:"cost_usd,omitempty"`

	// FirstTokenMS is the time until the client got the first token,
	// PerTokenMS that for each token behind it, and DurationMS until the call
	// was over, in milliseconds.
	FirstTokenMS float64 `json:"first_token_ms,omitempty"`
	PerTokenMS   float64 `json:"per_token_ms,omitempty"`
	DurationMS   float64 `json:"duration_ms"`
	// Events counts the events of a stream.
	Events int `json:"events,omitempty"`
}

// Usage is what a call took, in tokens. Input and Output are comparable
// between providers: the cached and the reasoning are parts of them.
type Usage struct {
	Input      int64 `json:"input"`
	Output     int64 `json:"output"`
	CacheRead  int64 `json:"cache_read,omitempty"`
	CacheWrite int64 `json:"cache_write,omitempty"`
	Reasoning  int64 `json:"reasoning,omitempty"`
	AudioIn    int64 `json:"audio_in,omitempty"`
	AudioOut   int64 `json:"audio_out,omitempty"`
	// Estimated says that the answer did not state all of it.
	Estimated bool `json:"estimated,omitempty"`
}
