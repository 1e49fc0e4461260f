// SPDX-License-Identifier: Apache-2.0

package wire

import "github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"

// usdPerTick is the unit of xAI's costs.
const usdPerTick = 1e-10

// Usage is what an answer says it took, in tokens unless noted. The numbers
// are the provider's own and mean what it means by them; to compare providers,
// use InputTotal and OutputTotal. What was not stated is zero.
type Usage struct {
	// Input is the prompt. At OpenAI and Google it includes CacheRead and
	// CacheWrite, at Anthropic it does not.
	Input int64
	// Output is what was generated. At Google and xAI it does not include
	// Reasoning.
	Output int64
	// Total is the sum of everything.
	Total int64
	// CacheRead is the part of the prompt that came from the provider's cache.
	CacheRead int64
	// CacheWrite is the part of the prompt that went into the cache, of which
	// CacheWrite5m stays there for five minutes and CacheWrite1h for an hour.
	CacheWrite, CacheWrite5m, CacheWrite1h int64
	// Reasoning is what was generated but is no part of the answer.
	Reasoning int64
	// AudioInput and AudioOutput are the parts that are sound, AudioCacheRead
	// what of AudioInput came from the cache.
	AudioInput, AudioOutput, AudioCacheRead int64
	// ImageInput and ImageOutput are the parts that are pictures.
	ImageInput, ImageOutput int64
	// ToolPrompt is what tools that the provider ran have added to the prompt.
	ToolPrompt int64
	// BilledInput and BilledOutput are what Cohere bills, which is less than
	// what its models read and wrote.
	BilledInput, BilledOutput int64
	// WebSearches is how often the provider has searched the web, which some
	// bill apart.
	WebSearches int64
	// SearchUnits is what a reranking is billed by, and Pages what the reading
	// of documents is.
	SearchUnits, Pages int64
	// Seconds is the length of a recording that is paid by time.
	Seconds float64
	// Cost is the price in US dollars.
	Cost float64
	// Aside is what was used besides, and is not included in the above.
	Aside Aside
	// Images is how many pictures were made, as far as they were counted. It
	// is not stated, but seen.
	Images int64

	// doubted says that a number was stated that none can be.
	doubted bool
	// stated has a bit for each fact that was stated.
	stated                  uint64
	inputTotal, outputTotal int64
}

// Aside is what steps took that an answer's usage does not include, and which
// are billed on top: at Anthropic the compaction of a conversation and the
// models that advise, in a realtime session the transcription of what was
// heard. Input excludes the cached.
type Aside struct {
	Input, Output, CacheRead, CacheWrite int64
	// Seconds is the length of what is paid by time.
	Seconds float64
}

func (a *Aside) set(id jsonscan.ID, v jsonscan.Value) {
	n := max(number(v), 0)
	switch id {
	case factAsideInput:
		a.Input = n
	case factAsideOutput:
		a.Output = n
	case factAsideCacheRead:
		a.CacheRead = n
	case factAsideCacheWrite:
		a.CacheWrite = n
	case factAsideSeconds:
		seconds, _ := v.Float()
		a.Seconds = max(seconds, 0)
	}
}

func (a *Aside) add(b Aside) {
	a.Input += b.Input
	a.Output += b.Output
	a.CacheRead += b.CacheRead
	a.CacheWrite += b.CacheWrite
	a.Seconds += b.Seconds
}

// InputTotal returns all that was read, cached or not, prompts of tools
// included.
func (u Usage) InputTotal() int64 { return u.inputTotal }

// OutputTotal returns all that was generated, reasoning included.
func (u Usage) OutputTotal() int64 { return u.outputTotal }

// Stated tells whether the answer has said what it took in tokens, time or
// money. An answer without is not one that took nothing.
func (u Usage) Stated() bool { return u.stated&^(1<<factSearchUnits|1<<factPages) != 0 }

// StatedCost returns the price of the call in US dollars, and whether the
// provider has named one: nothing, maybe.
func (u Usage) StatedCost() (usd float64, stated bool) { return u.Cost, u.has(factCost) }

// Billed returns the tokens that are paid for: all of them, but at Cohere what
// it says that it bills.
func (u Usage) Billed() (input, output int64) {
	input, output = u.inputTotal, u.outputTotal
	if u.has(factBilledInput) {
		input = u.BilledInput
	}
	if u.has(factBilledOutput) {
		output = u.BilledOutput
	}

	return input, output
}

// StatedTokens tells whether it was tokens: some state a price or a duration
// alone.
func (u Usage) StatedTokens() bool { return u.stated&(1<<(lastTokens+1)-1<<factInput) != 0 }

// bytesPerToken is how long a token is on average, in bytes of English text.
const bytesPerToken = 4

// guess fills in what was not stated, by the length of the prompt and of what
// was generated, in bytes, and by the number of events that generated it, each
// of which is a token at least. Where the answer stated an output so far, the
// greater counts. It reports whether there was anything to guess.
func (u *Usage) guess(prompt, generated int64, events int) bool {
	guessed := false
	if !u.has(factInput) {
		u.state(factInput, (prompt+bytesPerToken-1)/bytesPerToken)
		guessed = true
	}
	if output := max(generated/bytesPerToken, int64(events)); !u.has(factOutputTokens) || output > u.Output {
		u.state(factOutputTokens, output)
		guessed = true
	}
	return guessed
}

func (u *Usage) has(id jsonscan.ID) bool { return u.stated&(1<<id) != 0 }

// set notes one part of the usage, and reports whether it could. What is no
// number, negative or absurd, is not stated.
func (u *Usage) set(id jsonscan.ID, v jsonscan.Value) bool {
	if f, ok := v.Float(); !ok || f < 0 {
		return false
	}
	switch id {
	case factSeconds:
		u.Seconds, _ = v.Float()
	case factCost:
		u.Cost, _ = v.Float()
	case factTicks:
		ticks, _ := v.Float()
		u.Cost = ticks * usdPerTick
		id = factCost
	default:
		n := number(v)
		if n < 0 {
			u.doubted = true

			return false
		}
		u.state(id, n)

		return true
	}
	u.stated |= 1 << id

	return true
}

// add adds what another turn took.
func (u *Usage) add(v Usage) {
	for id := factInput; id <= lastTokens; id++ {
		*u.tokens(id) += *v.tokens(id)
	}
	u.Seconds += v.Seconds
	u.Cost += v.Cost
	u.Images += v.Images
	u.Aside.add(v.Aside)
	u.stated |= v.stated
}

// maxTokens is more than any call takes, in tokens or whatever else is counted. A
// number above it is none: a limit that counted it would never come free again.
const maxTokens = 100_000_000

// number returns a number of tokens; less than zero if it cannot be one.
func number(v jsonscan.Value) int64 {
	if n, ok := v.Int(); ok && n <= maxTokens {
		return n
	}

	return -1
}

// lastTokens is the last fact that is a number of tokens, or a whole number of
// something else.
const lastTokens = factPages

// state notes a number of tokens.
func (u *Usage) state(id jsonscan.ID, tokens int64) {
	*u.tokens(id) = tokens
	u.stated |= 1 << id
}

// tokens returns the number that a fact is about.
func (u *Usage) tokens(id jsonscan.ID) *int64 {
	switch id {
	case factInput:
		return &u.Input
	case factOutputTokens:
		return &u.Output
	case factTotal:
		return &u.Total
	case factCacheRead:
		return &u.CacheRead
	case factCacheWrite:
		return &u.CacheWrite
	case factCacheWrite5m:
		return &u.CacheWrite5m
	case factCacheWrite1h:
		return &u.CacheWrite1h
	case factReasoning:
		return &u.Reasoning
	case factAudioInput:
		return &u.AudioInput
	case factAudioOutput:
		return &u.AudioOutput
	case factBilledInput:
		return &u.BilledInput
	case factBilledOutput:
		return &u.BilledOutput
	case factWebSearches:
		return &u.WebSearches
	case factAudioCacheRead:
		return &u.AudioCacheRead
	case factImageInput:
		return &u.ImageInput
	case factImageOutput:
		return &u.ImageOutput
	case factSearchUnits:
		return &u.SearchUnits
	case factPages:
		return &u.Pages
	default:
		return &u.ToolPrompt
	}
}
