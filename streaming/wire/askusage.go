// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"slices"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// AskForUsage returns the body of a request with stream_options.include_usage
// set, and every other byte as it was. It says false, and returns the body
// untouched, where there is nothing to ask: the operation has no such option,
// no stream is wanted, or the client asks for the usage itself. What then
// comes beyond what the client wants, a [UsageFilter] takes out.
func (r *Request) AskForUsage(body []byte) (asking []byte, ok bool) {
	if !r.Stream || r.form || r.Operation.Dialect != dialectChat || len(body) == 0 {
		return body, false
	}
	if !r.options {
		// It is known to be an object without any.
		root := int64(bytes.IndexByte(body, '{') + 1)
		return insertedMember(body, root, `"stream_options":{`+includeUsage+"}"), true
	}
	var found streamOptions
	found.scanner.Reset(streamOptionPaths, &found)
	found.scanner.Write(body)
	found.scanner.End()
	if found.unclear || found.included || !found.scanner.Complete() {
		return body, false
	}
	switch {
	case found.value.end > 0:
		return replaced(body, found.value, "true"), true
	case found.null.end > 0:
		return replaced(body, found.null, "{"+includeUsage+"}"), true
	case found.inside > 0:
		return insertedMember(body, found.inside, includeUsage), true
	default:
		return insertedMember(body, found.root, `"stream_options":{`+includeUsage+"}"), true
	}
}

// includeUsage is how OpenAI's format asks for the usage of a stream.
const includeUsage = `"include_usage":true`

// replaced returns body with something else at a place.
func replaced(body []byte, at place, by string) []byte {
	return slices.Concat(body[:at.start], []byte(by), body[at.end:])
}

// insertedMember returns body with a first member in the object that opens
// before at.
func insertedMember(body []byte, at int64, member string) []byte {
	for _, c := range body[at:] {
		if c == '}' {
			break
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			member += ","

			break
		}
	}

	return replaced(body, place{start: at, end: at}, member)
}

// What streamOptionPaths find.
const (
	atBody jsonscan.ID = iota + 1
	atOptions
	atIncludeUsage
)

var streamOptionPaths = jsonscan.Compile(map[string]jsonscan.ID{
	"":                             atBody,
	"stream_options":               atOptions,
	"stream_options.include_usage": atIncludeUsage,
})

// streamOptions is where a body says whether it wants the usage.
type streamOptions struct {
	scanner jsonscan.Scanner
	// root and inside are where the first member of the body and of its
	// options would stand; null and value where there is a null instead of
	// options, and what else than true include_usage is.
	root, inside int64
	null, value  place
	// included says that the usage is asked for, and unclear that the body has
	// the options twice, or what is none: the provider is to judge that.
	included, unclear bool
	seen, seenOption  bool
}

// Value takes a scalar of the body.
func (o *streamOptions) Value(id jsonscan.ID, v jsonscan.Value) {
	switch id {
	case atOptions:
		o.unclear = o.unclear || o.seen || v.Kind != jsonscan.Null
		o.seen = true
		o.null = place{start: v.Start, end: v.End}
	case atIncludeUsage:
		o.unclear = o.unclear || o.seenOption || v.Kind != jsonscan.Null && v.Kind != jsonscan.Bool
		o.seenOption = true
		o.included = string(v.Raw) == "true"
		o.value = place{start: v.Start, end: v.End}
	default:
		o.unclear = true
	}
}

// Open takes the beginning of an object or array of the body.
func (o *streamOptions) Open(id jsonscan.ID, kind jsonscan.Kind) {
	switch {
	case kind == jsonscan.Array || id == atIncludeUsage:
		o.unclear = true
	case id == atBody:
		o.unclear = o.unclear || o.root > 0
		o.root = o.scanner.Offset()
	case id == atOptions:
		o.unclear = o.unclear || o.seen
		o.seen = true
		o.inside = o.scanner.Offset()
	}
}

// Close does nothing.
func (o *streamOptions) Close(jsonscan.ID) {}
