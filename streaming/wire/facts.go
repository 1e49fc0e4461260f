// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// facts is what one answer has said so far.
type facts struct {
	dialect *Dialect

	// model is the first name given. The others are the last ones given, of
	// which pending is a status that is not the last.
	model, finish, stop, detail, block, pending, tier word
	// usage is what the answer states; earlier is that of the turns before,
	// and metered what the provider has counted besides.
	usage, earlier, metered Usage
	answerID, created       word
	sequence                int64
	// objects are the ids of stored objects.
	objects []string
	// generated is the length of the texts that were, in bytes as they stand
	// in the JSON, and outputs the number of events that had any.
	generated int64
	outputs   int
	// images is how many pictures were.
	images int64
	// stale says that a new usage object has begun, and that the old one
	// counts no more when the new one says anything.
	stale bool

	// choices has a bit for each choice seen, finished for those that ended.
	choices, finished uint64
	// counted says that the current event states the output, and early that
	// the last one that did came before anything was generated.
	counted, early bool

	// index and ending are of the choice that is going by.
	index  int64
	ending word

	// modality is what the part of the usage that is going by is about, and
	// tokens how many; less than zero if that was not said.
	modality modality
	tokens   int64
	// aside is the step that is going by, and apart that it is not included in
	// the usage.
	aside Aside
	apart bool

	// What the current event has said: a type, something generated, that the
	// answer is whole, that it failed, or that a turn of it has or is settled;
	// what may mean that it failed, and anything else that we know; and that it
	// is only half an event.
	typed, output, ended, failed, mishap, settled, complaint, known, cut bool
}

// word is a short text, as it stands in the JSON. Most fit in its place.
type word struct {
	place [56]byte
	size  uint8
	// long is a text that does not fit.
	long []byte
}

func (w *word) set(v jsonscan.Value) {
	if string(v.Raw) == string(w.raw()) {
		return
	}
	w.clear()
	if len(v.Raw) > len(w.place) {
		w.long = bytes.Clone(v.Raw)
		return
	}
	w.size = uint8(copy(w.place[:], v.Raw))
}

// raw returns the word as it stands in the JSON.
func (w *word) raw() []byte {
	if w.long != nil {
		return w.long
	}
	return w.place[:w.size]
}

func (w *word) empty() bool { return w.size == 0 && w.long == nil }

func (w *word) clear() { w.size, w.long = 0, nil }

// String returns the word without its escapes.
func (w *word) String() string {
	return jsonscan.Value{Kind: jsonscan.String, Raw: w.raw()}.Text()
}

// value takes a scalar at one of the dialect's paths.
func (f *facts) value(id jsonscan.ID, v jsonscan.Value) {
	if v.Empty() {
		return
	}
	f.known = f.known || id != factEvent && id != factComplaint
	switch id {
	case factEvent:
	case factType:
		f.typed = true
		f.kind(v.Raw)
	case factModel:
		if f.model.empty() {
			f.model.set(v)
		}
	case factError:
		f.failed = f.failed || string(v.Raw) != "false"
	case factMishap:
		f.mishap = true
	case factComplaint:
		f.complaint = f.complaint || v.Kind == jsonscan.String
	case factOutput:
		f.output = true
		f.generated += v.End - v.Start
	case factIndex:
		f.index, _ = v.Int()
	case factFinish:
		if !is(notFinished, v.Raw) {
			f.ending.set(v)
		}
	case factStop:
		if is(notFinished, v.Raw) {
			f.pending.set(v)
		} else {
			f.stop.set(v)
		}
	case factTurn:
		if string(v.Raw) == "true" {
			f.stop.set(jsonscan.Value{Raw: turnComplete})
		}
	case factEnd:
		f.ended = f.ended || string(v.Raw) != "false"
	case factDetail:
		f.detail.set(v)
	case factBlock:
		if !is(notFinished, v.Raw) {
			f.block.set(v)
		}
	case factAnswerID:
		f.answerID.set(v)
	case factObject:
		if v.Kind == jsonscan.String && !v.Truncated && len(f.objects) < maxObjects {
			f.objects = append(f.objects, v.Text())
		}
	case factCreated:
		f.created.set(v)
	case factSequence:
		f.sequence, _ = v.Int()
	case factModality:
		f.modality = modalities[string(v.Raw)]
	case factPartTokens:
		f.tokens = number(v)
	case factAsideType:
		f.apart = is(f.dialect.asides, v.Raw)
	case factAsideInput, factAsideOutput, factAsideCacheRead, factAsideCacheWrite, factAsideSeconds:
		f.aside.set(id, v)
	case factMeteredInput, factMeteredOutput, factMeteredCacheRead, factMeteredCacheWrite:
		f.metered.set(meters[id], v)
	case factServiceTier:
		f.tier.set(v)
	case factImage:
		f.images++
	case factUsage, factInputPart, factOutputPart, factCachePart, factWritePart, factAsides, factAside, factWrapped:
	default:
		f.renew()
		f.counted = f.usage.set(id, v) && id == factOutputTokens || f.counted
	}
}

// renew forgets the usage that was stated before, now that the new one says
// something.
func (f *facts) renew() {
	if f.stale {
		f.stale = false
		f.usage = Usage{Aside: f.usage.Aside}
	}
}

// turnComplete is Google's word for the end of a turn: the name of a member.
var turnComplete = []byte("turnComplete")

// open takes the beginning of an object or array.
func (f *facts) open(id jsonscan.ID, kind jsonscan.Kind) {
	f.known = f.known || id != factEvent && id != factComplaint
	switch id {
	case factError:
		f.failed = true
	case factMishap:
		f.mishap = true
	case factComplaint:
		f.complaint = true
	case factEnd:
		f.ended = true
	case factAsides:
		f.usage.Aside = Aside{}
	case factAside:
		f.aside, f.apart = Aside{}, false
	case factOutput:
		// What is in an array has a path of its own.
		f.output = f.output || kind == jsonscan.Object
	case factChoice:
		f.index = 0
		f.ending.clear()
	case factImage:
		f.images++
	case factInputPart, factOutputPart, factCachePart, factWritePart:
		f.modality, f.tokens = otherModality, -1
	case factUsage:
		f.stale = !f.dialect.overlay
		if f.dialect.sum {
			f.settled = true
			f.earlier.add(f.usage)
			f.usage = Usage{}
		}
	}
}

// close takes the end of an object or array.
func (f *facts) close(id jsonscan.ID) {
	switch {
	case id == factChoice:
		f.endChoice()
	case id == factWritePart && f.modality == hourModality && f.tokens >= 0:
		f.renew()
		f.usage.CacheWrite1h = f.tokens
	case id == factInputPart || id == factOutputPart || id == factCachePart:
		if part := modalityParts[f.modality][id]; part != 0 && f.tokens >= 0 {
			f.renew()
			f.usage.state(part, f.tokens)
		}
	case id == factAside && f.apart:
		f.settled = true
		f.usage.Aside.add(f.aside)
	}
}

// endChoice takes the end of a choice.
func (f *facts) endChoice() {
	bit := uint64(1) << (uint64(f.index) & 63)
	f.choices |= bit
	if f.ending.empty() {
		return
	}
	f.finished |= bit
	if f.index == 0 {
		f.finish = f.ending
	}
}

// kind takes the type of an event.
func (f *facts) kind(name []byte) {
	f.ended = f.ended || is(f.dialect.ends, name)
	f.failed = f.failed || is(f.dialect.fails, name)
}

// whole tells whether every choice has ended, or there will be none.
func (f *facts) whole() bool {
	return !f.block.empty() || f.finished != 0 && f.finished == f.choices
}

// total returns the usage of all turns, with its comparable totals.
func (f *facts) total() Usage {
	u := f.usage
	if f.metered.Stated() && !(u.has(factInput) && u.has(factOutputTokens)) {
		u = f.metered
	}
	if f.dialect != nil && f.dialect.sum {
		u.add(f.earlier)
	}
	if u.Stated() {
		u = f.dialect.totals(u)
	}
	u.Images = f.images

	return u
}

// lastWord returns the provider's word for why the answer ended.
func (f *facts) lastWord() string {
	switch {
	case !f.finish.empty():
		return f.finish.String()
	case !f.stop.empty() && !f.detail.empty() && string(f.stop.raw()) == "incomplete":
		return "incomplete:" + f.detail.String()
	case !f.stop.empty():
		return f.stop.String()
	default:
		return f.block.String()
	}
}
