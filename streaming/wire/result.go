// SPDX-License-Identifier: Apache-2.0

package wire

import "bytes"

// Result is what an answer has said of itself.
type Result struct {
	// Model is the first name that the answer gives its model.
	Model string
	// Finish is the provider's word for why the answer ended; for the
	// Responses API its status, followed by the reason if it is incomplete:
	// "incomplete:max_output_tokens". Empty if the answer has not said so.
	Finish string
	// FinishReason is the same in a common language: stop, length,
	// tool_calls, content_filter, error or other.
	FinishReason string
	// Usage is what the answer took.
	Usage Usage
	// ServiceTier is the provider's word for the tier of service at which the
	// answer was made, by which prices may differ: default, flex, priority,
	// batch. Empty if the answer has not said so.
	ServiceTier string
	// Estimated says that the answer did not state all of its usage, as one
	// that broke off does not, so that what was missing is a guess; see
	// [Scanner.Guess].
	Estimated bool
	// Bytes is the length of the answer.
	Bytes int64
	// Events counts the events of a stream, "[DONE]" included, and is 1 for a
	// whole JSON document.
	Events int
	// FirstOutputEvent is the index of the first event in which something was
	// generated; -1 if there was none.
	FirstOutputEvent int
}

// Started tells whether anything generated has been seen: text, reasoning, a
// tool's arguments, media. Of a plain JSON answer that is its end; what is not
// looked into starts with its first byte.
func (s *Scanner) Started() bool { return s.started }

// Ended tells whether the answer is known to be whole, should nothing more
// come: the event with its terminal signal was seen, or a JSON document is
// complete. What is not looked into ends with Close.
func (s *Scanner) Ended() bool { return s.ended || s.closed }

// Final tells whether an answer that has ended will not go on. Some say in
// every event why they end, and the last of them is the one that states the
// usage.
func (s *Scanner) Final() bool {
	return s.Ended() && (s.ended || !s.facts.dialect.repeats || s.facts.usage.Stated())
}

// Outputs returns how many events of a stream have generated something.
func (s *Scanner) Outputs() int { return s.facts.outputs }

// Failure returns the error that the answer reported in spite of its status:
// the data of the event, or the body, of which at most 32 KiB; nil if there
// was none. It is valid until Release.
func (s *Scanner) Failure() []byte { return s.failure }

// CutOff tells whether the answer is a JSON document that has not come to its
// end. It says nothing of what is not JSON.
func (s *Scanner) CutOff() bool {
	return (s.framing == document || s.framing == array) && !s.json.Complete() && !s.json.Broken()
}

// Events tells whether the answer's bytes are a stream of server-sent events,
// which those of one that is encoded are not.
func (s *Scanner) Events() bool { return s.framing == eventStream && s.decoder == nil }

// Silent tells whether nothing has come yet by which the answer's framing could
// be told.
func (s *Scanner) Silent() bool { return s.framing == unknown && s.decoder == nil }

// Blank tells whether nothing has come yet but white space.
func (s *Scanner) Blank() bool { return s.bytes == 0 || s.framing == unknown && s.headSize == 0 }

// Page tells whether the answer is a web page, whatever it is labelled as. It
// says no of JSON, events and frames that are labelled as one.
func (s *Scanner) Page() bool {
	head := bytes.TrimPrefix(s.head[:s.headSize], byteOrderMark)

	return bytes.HasPrefix(head, []byte("<")) || s.framing == opaque && s.media == "text/html" && s.bytes > 0
}

// Result returns what the answer has said so far.
func (s *Scanner) Result() Result {
	r := Result{
		Model:            s.facts.model.String(),
		Finish:           s.facts.lastWord(),
		Usage:            s.facts.total(),
		ServiceTier:      s.facts.tier.String(),
		Estimated:        s.guessed,
		Bytes:            s.bytes,
		Events:           s.count,
		FirstOutputEvent: s.firstOutput,
	}
	r.FinishReason = finishReason(r.Finish)
	if r.Finish == "" && s.framing == document {
		// What is still being made has a status all the same.
		r.Finish = s.facts.pending.String()
	}
	return r
}

// Usage returns the part of the result that is the usage.
func (s *Scanner) Usage() Usage { return s.facts.total() }

// Provisional tells whether the usage that was stated is not that of the whole
// answer: an error has broken it off since, or the output was stated only before
// there was any, or a number of tokens was none.
func (s *Scanner) Provisional() bool {
	u := &s.facts.usage
	return s.broke || u.doubted && !(u.has(factInput) && u.has(factOutputTokens)) || s.facts.early && s.facts.outputs > 0
}

// Guess fills in the usage that an answer has not stated, if it generated
// anything, or has stated too low for what it generated; prompt is the length of the request's body, in bytes.
func (s *Scanner) Guess(prompt int) {
	if s.facts.dialect == nil || !s.started {
		return
	}
	generated := s.facts.generated
	if s.framing == document || s.framing == opaque {
		// Not all of what a whole answer says is looked for: it is measured.
		generated = s.bytes
	}
	s.guessed = s.facts.usage.guess(int64(prompt), generated, s.facts.outputs)
}
