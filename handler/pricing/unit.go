// SPDX-License-Identifier: Apache-2.0

// Package pricing says what calls cost: a [Table] of prices, and the sums over
// what an answer says it took.
package pricing

// Unit is something that is paid for.
type Unit uint8

// The units. All up to ImageOutput are tokens, the others are counted one by
// one. Prices are for a million of all up to Pixel, and for one of the others.
const (
	// Input is what was read and is none of the others.
	Input Unit = iota
	// Output is what was generated and is none of the others.
	Output
	// CacheRead is what came from the provider's cache. Default: as Input.
	CacheRead
	// CacheWrite is what went into it. Default: as Input.
	CacheWrite
	// CacheWrite1h is what stays there for an hour. Default: as CacheWrite.
	CacheWrite1h
	// Reasoning is what was generated but is no part of the answer.
	// Default: as Output.
	Reasoning
	// AudioInput and AudioOutput are sound. Default: as Input and Output.
	AudioInput
	AudioOutput
	// AudioCacheRead is sound from the cache. Default: as CacheRead.
	AudioCacheRead
	// ImageInput and ImageOutput are pictures. Default: as Input and Output.
	ImageInput
	ImageOutput
	// Character is one of a text that was spoken, where no tokens are stated.
	Character
	// Pixel is one of the pictures that were made, where no tokens are stated
	// for them and a picture has no price.
	Pixel
	// Image is a picture that was made, where no tokens are stated for it.
	Image
	// Request is the call itself. Default: nothing.
	Request
	// Second is a second of sound.
	Second
	// Search is a search of the web, or a unit by which a reranking is billed.
	Search
	// Page is a page of a document that was read.
	Page

	unitCount
)

// unitNames are the units' names in configs.
var unitNames = [unitCount]string{
	"input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning",
	"audio_input", "audio_output", "audio_cache_read", "image_input", "image_output",
	"character", "pixel", "image", "request", "second", "search", "page",
}

// String returns the unit's name in configs.
func (u Unit) String() string { return unitNames[u] }

// ParseUnit returns the unit of that name.
func ParseUnit(name string) (Unit, bool) {
	for i, known := range unitNames {
		if known == name {
			return Unit(i), true
		}
	}
	return 0, false
}

// PerMillion tells whether prices are given for a million of the unit rather
// than for one.
func (u Unit) PerMillion() bool { return u <= Pixel }

// like is the unit whose price holds where a unit has none of its own.
var like = [unitCount]Unit{
	Input: Input, Output: Output,
	CacheRead: Input, CacheWrite: Input, CacheWrite1h: CacheWrite,
	Reasoning:  Output,
	AudioInput: Input, AudioOutput: Output, AudioCacheRead: CacheRead,
	ImageInput: Input, ImageOutput: Output,
	Character: Character, Pixel: Pixel,
	Image: Image, Request: Request, Second: Second, Search: Search, Page: Page,
}
