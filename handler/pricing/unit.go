// SPDX-License-Identifier: Apache-2.0

// Package pricing says what calls cost: a [Table] of prices, and the sums over
// what an answer says it took.
package pricing

// Unit is something that is paid for.
type Unit uint8

// The units. All up to unitImageOutput are tokens, the others are counted one
// by one. Prices are for a million of all up to unitPixel, and for one of the
// others.
const (
	// unitInput is what was read and is none of the others.
	unitInput Unit = iota
	// unitOutput is what was generated and is none of the others.
	unitOutput
	// unitCacheRead is what came from the provider's cache.
	// Default: as unitInput.
	unitCacheRead
	// unitCacheWrite is what went into it. Default: as unitInput.
	unitCacheWrite
	// unitCacheWrite1h is what stays there for an hour.
	// Default: as unitCacheWrite.
	unitCacheWrite1h
	// unitReasoning is what was generated but is no part of the answer.
	// Default: as unitOutput.
	unitReasoning
	// unitAudioInput and unitAudioOutput are sound.
	// Default: as unitInput and unitOutput.
	unitAudioInput
	unitAudioOutput
	// unitAudioCacheRead is sound from the cache. Default: as unitCacheRead.
	unitAudioCacheRead
	// unitImageInput and unitImageOutput are pictures.
	// Default: as unitInput and unitOutput.
	unitImageInput
	unitImageOutput
	// unitCharacter is one of a text that was spoken, where no tokens are stated.
	unitCharacter
	// unitPixel is one of the pictures that were made, where no tokens are
	// stated for them and a picture has no price.
	unitPixel
	// unitImage is a picture that was made, where no tokens are stated for it.
	unitImage
	// unitRequest is the call itself. Default: nothing.
	unitRequest
	// unitSecond is a second of sound.
	unitSecond
	// unitSearch is a search of the web, or a unit by which a reranking is
	// billed.
	unitSearch
	// unitPage is a page of a document that was read.
	unitPage

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

// Units are the names of all units.
func Units() []string { return unitNames[:] }

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
func (u Unit) PerMillion() bool { return u <= unitPixel }

// like is the unit whose price holds where a unit has none of its own.
var like = [unitCount]Unit{
	unitInput: unitInput, unitOutput: unitOutput,
	unitCacheRead: unitInput, unitCacheWrite: unitInput, unitCacheWrite1h: unitCacheWrite,
	unitReasoning:  unitOutput,
	unitAudioInput: unitInput, unitAudioOutput: unitOutput, unitAudioCacheRead: unitCacheRead,
	unitImageInput: unitInput, unitImageOutput: unitOutput,
	unitCharacter: unitCharacter, unitPixel: unitPixel,
	unitImage: unitImage, unitRequest: unitRequest, unitSecond: unitSecond, unitSearch: unitSearch, unitPage: unitPage,
}
