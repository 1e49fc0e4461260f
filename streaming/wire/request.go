// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"sync"

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
	return jsonscan.Compile(merge(append([]paths{demandPlaces}, own...)...)).AnyCase()
}

// jsonMedia is the type of nearly all bodies.
const jsonMedia = "application/json"

var gzipMagic = []byte{0x1f, 0x8b}

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

// bodyFacts is what a body says. It visits the values of a JSON scanner.
type bodyFacts struct {
	family *Family
	model  string
	// stream is whether a stream is asked for, and saysStream that the body
	// has said so or not so.
	stream, saysStream bool
	named              []place
	// entries counts the requests within the request that name the model.
	entries int
	// mixed says that the model is named differently in different places.
	mixed bool
	form  bool
	// objects are stored objects that are referred to; store is what is said
	// of storing the answer.
	objects []string
	store   string
	// several says that more than one answer is asked for, and options that
	// there are options for streams.
	several, options bool
	// prompt says that a stored prompt is asked for, which may have a model of
	// its own.
	prompt bool
	// input is where a text stands, and size and quality are of pictures; see
	// [Order].
	input         place
	size, quality string

	// demand is what the call may take.
	demand demandVisitor

	roots int
	err   *RequestError
}

// read reads a body of either kind.
func (b *bodyFacts) read(family *Family, contentType string, body []byte) error {
	b.family = family
	trimmed := bytes.TrimSpace(body)
	media, parameters := contentType, map[string]string(nil)
	if media != jsonMedia { // as nearly all are
		media, parameters, _ = mime.ParseMediaType(contentType)
	}
	var err *RequestError
	switch {
	case len(trimmed) == 0:
		err = badRequest("missing_body", "the request has no body: send a JSON object")
	case bytes.HasPrefix(trimmed, gzipMagic):
		err = &RequestError{http.StatusUnsupportedMediaType, "unsupported_encoding", "the body is compressed: send it without a Content-Encoding"}
	case media == "multipart/form-data":
		err = b.readForm(parameters["boundary"], body)
	case media == jsonMedia, strings.HasSuffix(media, "+json"), contentType == "" && trimmed[0] == '{':
		err = b.readJSON(body)
	default:
		err = &RequestError{
			http.StatusUnsupportedMediaType, "unsupported_media_type",
			"the body is not JSON: send a JSON object with Content-Type: application/json",
		}
	}
	if err != nil {
		return err
	}

	return nil
}

// bodyScanners are used again: a scanner is as large as many a request.
var bodyScanners = sync.Pool{New: func() any { return new(jsonscan.Scanner) }}

// scan tells a visitor what stands in a body; whole says that it is JSON.
func scan(paths *jsonscan.Paths, visitor jsonscan.Visitor, body []byte) (whole bool) {
	scanner := bodyScanners.Get().(*jsonscan.Scanner)
	scanner.Reset(paths, visitor)
	scanner.Write(body)
	scanner.End()
	whole = scanner.Complete() && !scanner.Broken()
	scanner.Reset(nil, nil)
	bodyScanners.Put(scanner)

	return whole
}

func (b *bodyFacts) readJSON(body []byte) *RequestError {
	b.demand.read = true
	whole := scan(b.family.bodyPaths, b, body)
	switch {
	case !whole || b.roots > 1:
		return badRequest("invalid_json", "the body is not valid JSON: check it for missing brackets, quotes and commas")
	case b.roots == 0:
		return badRequest("invalid_json", "the body is JSON but not an object: put the request into {…}")
	}

	return b.err
}

// Value takes a scalar of the body.
func (b *bodyFacts) Value(id jsonscan.ID, v jsonscan.Value) {
	switch id {
	case atRoot:
		// Two values in a row are no document, one is no object.
		if b.roots > 0 {
			b.roots++
		}
	case atModel, atEntryModel:
		if id == atEntryModel {
			b.entries = min(b.entries+1, maxEntries)
		}
		switch {
		case b.err != nil:
		case v.Kind != jsonscan.String:
			b.fail(errNoName)
		case v.Truncated:
			b.fail(errLongModel)
		default:
			b.name(v.Text(), v.Start, v.End)
		}
	case atStreamOptions:
		b.options = true
	case atSeveral:
		n, ok := v.Int()
		b.several = ok && n > 1
		b.demand.Value(atCount, v)
	case atPrompt:
		b.prompt = v.Kind == jsonscan.String
	case atStore:
		b.store = string(v.Raw)
	case atInput, atSize, atQuality:
		b.order(id, v)
	case atObject:
		if v.Kind == jsonscan.String && !v.Truncated && len(b.objects) < maxObjects {
			b.objects = append(b.objects, b.family.storage.name(v.Text()))
		}
	case atStream:
		if v.Kind != jsonscan.Bool && v.Kind != jsonscan.Null {
			b.fail(errNoFlag)
		}
		b.stream = string(v.Raw) == "true"
		b.saysStream = v.Kind == jsonscan.Bool
	default:
		b.demand.Value(id, v)
	}
}

// Open takes the beginning of an object or array of the body.
func (b *bodyFacts) Open(id jsonscan.ID, kind jsonscan.Kind) {
	switch {
	case id == atModel, id == atEntryModel:
		b.fail(errNoName)
	case id == atStream:
		b.fail(errNoFlag)
	case id == atStreamOptions:
		b.options = true
	case id == atRoot && (kind == jsonscan.Object || b.roots > 0):
		b.roots++
	}
}

// Close takes the end of an object or array.
func (b *bodyFacts) Close(jsonscan.ID) {}

// name takes a model's name as it stands from start to end. The last counts.
func (b *bodyFacts) name(model string, start, end int64) {
	plain := model
	if b.family.modelPrefix != "" {
		plain = strings.TrimPrefix(model, b.family.modelPrefix)
	}
	err := checkModel(plain)
	if len(b.named) == maxPlaces+b.entries {
		err = errManyModels
	}
	if err != nil {
		b.fail(err)

		return
	}
	b.mixed = b.mixed || len(b.named) > 0 && plain != b.model
	b.model = plain
	b.named = append(b.named, place{start, end, plain != model})
}

// keeps tells whether an operation will store its answer.
func (b *bodyFacts) keeps(op *Operation) bool {
	switch op.keeps {
	case keepsIfTold:
		return b.store == "true"
	case keepsUnlessTold:
		return b.store != "false"
	}

	return false
}

// fail remembers the first thing that is wrong.
func (b *bodyFacts) fail(err *RequestError) {
	if b.err == nil {
		b.err = err
	}
}
