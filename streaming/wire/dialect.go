// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"maps"
	"slices"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// Dialect says where the answers of an operation keep what we want to know.
// It is a table of facts; [Scanner] knows what to do with them.
type Dialect struct {
	// values leads to the facts of one answer or one event, elements to the
	// same within a streamed JSON array.
	values, elements *jsonscan.Paths
	// overlay says that of each part of the usage the last one stated counts.
	// Otherwise the last usage object counts as a whole.
	overlay bool
	// wrapped says that the events of an AWS event stream hold the JSON in
	// base64 in JSON of their own.
	wrapped bool
	// sum says that every usage object is of a turn of its own, so that they
	// add up.
	sum bool
	// repeats says that every event of a stream may say why it ended.
	repeats bool
	// lines says that streams have a JSON object on each line, whatever they
	// are labelled as.
	lines bool
	// totals works out the comparable totals of a usage.
	totals func(Usage) Usage
	// setup leads to the model in a client's first message, in sessions whose
	// handshake does not name it.
	setup *jsonscan.Paths
	// ends and fails are the types of events that say that the answer is
	// whole, or that it failed.
	ends, fails []string
	// asides are the types of the steps that a usage does not include.
	asides []string

	// weave leaves out of an event of a second stream what the client has got
	// of the first. It is nil where streams cannot be taken up again.
	weave func(w *weaver, event map[string]any) bool
	// prefill puts the answer so far into a request. It is nil where a model
	// does not go on from that; rebase makes a stream that does fit.
	prefill func(c *Continuation, body []byte) ([]byte, bool)
	rebase  func(w *weaver)
}

// paths is where a dialect keeps its facts; see [jsonscan.Compile].
type paths map[string]jsonscan.ID

// The facts that dialects have paths to.
const (
	// factEvent is one whole answer or event.
	factEvent jsonscan.ID = iota + 1
	// factType is the type of an event.
	factType
	factModel
	// factError is an error object or text, where no error is null. factMishap
	// is the same where the session goes on.
	factError
	factMishap
	// factComplaint is an error in an event that says nothing else that we
	// know: the detail by which servers made with FastAPI fail.
	factComplaint
	// factOutput is generated, unless it is empty: text, reasoning, the
	// arguments of a tool, media. An object there is never empty.
	factOutput
	// factChoice is one of several answers to one question; factIndex and
	// factFinish are its number and why it ended.
	factChoice
	factIndex
	factFinish
	// factStop is why the one answer ended, and factDetail more about that.
	// factBlock is the same where nothing follows it, also where there will be
	// no answer. factTurn is true at the end of a turn of a conversation, and
	// factEnd is neither null nor false at the end of an answer.
	factStop
	factDetail
	factBlock
	// factAnswerID, factCreated and factSequence are an answer's id, when it
	// was made, and the number of its latest event.
	factAnswerID
	factCreated
	factSequence
	factTurn
	factEnd
	// factObject is the id of an object that is stored.
	factObject
	// factUsage is the object that states the usage. What follows are its
	// parts.
	factUsage
	factInput
	factOutputTokens
	factTotal
	factCacheRead
	factCacheWrite
	factCacheWrite5m
	factCacheWrite1h
	factReasoning
	factAudioInput
	factAudioOutput
	factToolPrompt
	factBilledInput
	factBilledOutput
	factWebSearches
	factAudioCacheRead
	factImageInput
	factImageOutput
	factSearchUnits
	factPages
	factSeconds
	factCost
	factTicks
	// factInputPart, factOutputPart, factCachePart and factWritePart are
	// objects that state how much of the usage is of one kind: their
	// factModality and factPartTokens.
	factInputPart
	factOutputPart
	factCachePart
	factWritePart
	factModality
	factPartTokens
	// factAsides lists steps, each of them a factAside with the type and the
	// parts that follow.
	factAsides
	factAside
	factAsideType
	factAsideInput
	factAsideOutput
	factAsideCacheRead
	factAsideCacheWrite
	factAsideSeconds
	// What the provider has metered counts where the model states no usage.
	factMeteredInput
	factMeteredOutput
	factMeteredCacheRead
	factMeteredCacheWrite
	// factServiceTier is at which tier of service the answer was made.
	factServiceTier
	// factImage is a picture that was made.
	factImage
	// factWrapped is JSON in base64 that says all the rest.
	factWrapped
)

// compile makes a dialect of its facts.
func (d Dialect) compile(all ...paths) *Dialect {
	values := merge(all...)
	values[""] = factEvent
	d.values = jsonscan.Compile(values).LearnForms()
	d.elements = jsonscan.Compile(values.under("*"))

	return &d
}

// merge returns all of those facts.
func merge(all ...paths) paths {
	merged := paths{}
	for _, some := range all {
		maps.Copy(merged, some)
	}

	return merged
}

// under returns the same facts further down.
func (p paths) under(prefix string) paths {
	moved := make(paths, len(p))
	for path, id := range p {
		if path != "" {
			path = "." + path
		}
		moved[prefix+path] = id
	}

	return moved
}

// outputs are paths to what is generated.
func outputs(prefix string, names ...string) paths {
	found := make(paths, len(names))
	for _, name := range names {
		found[prefix+name] = factOutput
	}

	return found
}

// is tells whether an event's type is one of those.
func is(kinds []string, kind []byte) bool {
	return slices.ContainsFunc(kinds, func(known string) bool { return known == string(kind) })
}
