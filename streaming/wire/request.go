// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// place is where a body names a model: its bytes from start to end, and
// whether a prefix stands before the name.
type place struct {
	start, end int64
	prefixed   bool
}

// What a family's bodyPaths find.
const (
	atRoot jsonscan.ID = iota + 1
	atModel
	atEntryModel
	atStream
	atSeveral
	atStreamOptions
	atPrompt
	atStore
	atObject
	atInput
	atSize
	atQuality
	atBound
	atCount
	atAlternative
)

// bodyPlaces are the places in the body of a family that has some of its own.
// A key in other case counts, too: there are providers that read it so, and
// what a client may use must not depend on that.
func bodyPlaces(own ...paths) *jsonscan.Paths {
	return jsonscan.Compile(merge(append([]paths{demandPlaces}, own...)...)).AnyCase().LearnForms()
}

// ReadBody finds the model and the stream flag in the whole body, and
// remembers where the model stands. What is wrong with it is a [*RequestError].
// A body of an operation that is passed through is never wrong. The handshake
// of a session has none; what is wrong with its query is told here.
func (r *Request) ReadBody(contentType string, body []byte) error {
	if r.doubt != nil {
		return r.doubt
	}
	if r.Operation.Session {
		return nil
	}
	var found bodyFacts
	err := found.read(r.Family, contentType, body)
	r.demand = found.demand
	switch {
	case err != nil && r.Operation.needsBody:
		return err
	case err != nil:
		return nil
	}

	if r.Model == "" {
		r.Model = found.model
	}
	if r.Model == "" && r.Operation.needsModel && !found.prompt {
		return badRequest("missing_model", `the request names no model: set "model" to the name of the model to use`)
	}
	if found.saysStream && r.Operation.streams {
		r.Stream = found.stream
	}
	r.Stream = r.Stream || found.stream
	r.Several = found.several
	r.kept = found.keeps(r.Operation)
	r.Order = found.orderOf(r.Operation, body)
	r.refer(found.objects...)
	r.named, r.form, r.options = found.named, found.form, found.options
	r.mixed = found.mixed || len(found.named) > 0 && found.model != r.Model

	return nil
}

// Body returns the body with the model's name replaced wherever it stands, and
// every other byte as it was. It is the same slice when nothing changes.
func (r *Request) Body(body []byte, model string) []byte {
	if len(r.named) == 0 || model == r.Model && !r.mixed {
		return body
	}
	out := make([]byte, 0, len(body)+len(r.named)*(len(model)+2))
	var done int64
	for _, at := range r.named {
		out = append(out, body[done:at.start]...)
		out = append(out, r.spell(model, at)...)
		done = at.end
	}

	return append(out, body[done:]...)
}

// spell writes a model's name the way the body has it at a place.
func (r *Request) spell(model string, at place) []byte {
	if at.prefixed && !strings.Contains(model, "/") {
		model = r.Family.modelPrefix + model
	}
	if r.form {
		return []byte(model)
	}
	// A string always encodes.
	spelled, _ := json.Marshal(model)

	return spelled
}
