// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"

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

// What demandPaths find.
const (
	atBound jsonscan.ID = iota + 1
	atCount
	atAlternative
)

var demandPaths = jsonscan.Compile(map[string]jsonscan.ID{
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
})

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
	found := demandVisitor{answers: 1}
	var scanner jsonscan.Scanner
	scanner.Reset(demandPaths, &found)
	scanner.Write(body)
	scanner.End()

	demand := Demand{Input: textTokens(body), Models: found.models}
	if r.Generates() {
		if found.bound == 0 {
			found.bound = defaultOutput
		}
		demand.Output = found.bound * found.answers
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
	var narrow, wide, run, media int64
	for _, c := range body {
		if c >= 0x80 {
			wide++
		} else {
			narrow++
		}
		if isBase64(c) {
			run++
			continue
		}
		if run > mediaLength {
			narrow, media = narrow-run, media+1
		}
		run = 0
	}
	if run > mediaLength {
		narrow, media = narrow-run, media+1
	}

	return (narrow+3)/4 + (wide+2)/3 + media*mediaTokens
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}
