// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// Demand is what a request asks for beyond its model. The tokens are guesses,
// to be corrected when the answer states what it took.
type Demand struct {
	// Input and Output are the tokens that the call may take.
	Input, Output int64
	// Models are other models that the body names as alternatives, for
	// providers that choose among them. If there are more than maxModels, an
	// empty name stands for the rest; so it does for those that the messages of
	// a session may name.
	Models []string
}

const (
	// defaultOutput is what an answer is thought to take where the request
	// sets no bound, in tokens.
	defaultOutput = 1024
	// mediaTokens is what an image or a file within a body is thought to
	// take.
	mediaTokens = 1000
	// mediaLength is from how many letters without a break on something is
	// taken for a file rather than for text.
	mediaLength = 512
	// maxModels bounds how many alternatives are remembered.
	maxModels = 64
)

// demandPlaces are where bodies of all families say what a call may take.
var demandPlaces = paths{
	"max_tokens":                          atBound,
	"max_completion_tokens":               atBound,
	"max_output_tokens":                   atBound,
	"generationConfig.maxOutputTokens":    atBound,
	"generation_config.max_output_tokens": atBound,
	"n":                                   atCount,
	"best_of":                             atCount,
	"generationConfig.candidateCount":     atCount,
	"generation_config.candidate_count":   atCount,
	"models.*":                            atAlternative,
	"models":                              atAlternative,
	"fallbacks.*":                         atAlternative,
	"fallbacks.*.model":                   atAlternative,
}

var demandPaths = jsonscan.Compile(demandPlaces).AnyCase()

// Demand reads from the body what the call may take.
func (r *Request) Demand(body []byte) Demand {
	if r.Operation.Session && r.Model == "" {
		return Demand{Models: []string{""}} // its messages will say which
	}
	if len(body) == 0 {
		return Demand{}
	}
	if r.form {
		return Demand{Input: mediaTokens}
	}
	found := &r.demand
	if !found.read { // not all that is passed through is
		fresh := r.demand
		scan(demandPaths, &fresh, body)
		found = &fresh
	}

	demand := Demand{Input: textTokens(body), Models: found.models}
	if r.Generates() {
		demand.Output = cmp.Or(found.bound, defaultOutput) * max(found.answers, 1)
	}

	return demand
}

// Generates tells whether the answer is made token by token.
func (r *Request) Generates() bool {
	if r.Operation.Free {
		return false // tokens are counted, not made
	}
	switch r.Operation.Dialect {
	case dialectChat, dialectResponses, dialectMessages, dialectComplete, dialectGenerate, dialectInteractions,
		dialectConverse, dialectInvoke, dialectCohere, dialectOllama, dialectTGI, dialectLlama, dialectDashScope:
		return true
	}

	return false
}

// demandVisitor takes what demandPaths find.
type demandVisitor struct {
	bound, answers int64
	models         []string
	// read says that the body was.
	read bool
}

// Value takes a bound, a number of answers, or the name of a model. Of several
// the largest counts.
func (d *demandVisitor) Value(id jsonscan.ID, v jsonscan.Value) {
	switch id {
	case atBound:
		if n, ok := v.Int(); ok {
			d.bound = min(max(n, d.bound), math.MaxInt32)
		}
	case atCount:
		if n, ok := v.Int(); ok {
			d.answers = min(max(n, d.answers), 128)
		}
	case atAlternative:
		switch {
		case v.Kind != jsonscan.String || len(d.models) > maxModels:
		case v.Truncated || len(d.models) == maxModels:
			d.models = append(d.models, "")
		default:
			d.models = append(d.models, v.Text())
		}
	}
}

// Open takes the beginning of an object or array.
func (*demandVisitor) Open(jsonscan.ID, jsonscan.Kind) {}

// Close takes the end of an object or array.
func (*demandVisitor) Close(jsonscan.ID) {}

// textTokens guesses how many tokens a text is: a token is four letters of
// ASCII, or one of the wider characters of three bytes. What looks like the
// content of a file counts as one, whatever its size.
func textTokens(body []byte) int64 {
	wide := wideBytes(body)
	narrow, media := int64(len(body))-wide, int64(0)
	// What is long enough goes across a place that is divided by that length.
	for i := 0; i < len(body); {
		start, end := i, i
		for start > 0 && isBase64(body[start-1]) {
			start--
		}
		for end < len(body) && isBase64(body[end]) {
			end++
		}
		if end-start > mediaLength {
			narrow, media = narrow-int64(end-start), media+1
		}
		i = (end/mediaLength + 1) * mediaLength
	}

	return (narrow+3)/4 + (wide+2)/3 + media*mediaTokens
}

// wideBytes counts the bytes that are not ASCII.
func wideBytes(text []byte) int64 {
	const high = 0x8080808080808080
	n, le := 0, binary.LittleEndian
	for ; len(text) >= 64; text = text[64:] {
		b := (*[64]byte)(text)
		// Most texts are ASCII, and that shows at a glance.
		all := le.Uint64(b[0:]) | le.Uint64(b[8:]) | le.Uint64(b[16:]) | le.Uint64(b[24:]) |
			le.Uint64(b[32:]) | le.Uint64(b[40:]) | le.Uint64(b[48:]) | le.Uint64(b[56:])
		for i := 0; all&high != 0 && i < len(b); i += 8 {
			n += bits.OnesCount64(le.Uint64(b[i:]) & high)
		}
	}
	for _, c := range text {
		n += int(c >> 7)
	}

	return int64(n)
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}
