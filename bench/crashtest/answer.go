// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// tokens is how many pieces every whole answer has.
const tokens = 60

// pieces is the answer that every model gives: no piece stands in it twice, so
// that what is missing, doubled or out of order shows.
var pieces = func() [tokens]string {
	var p [tokens]string
	for i := range p {
		p[i] = fmt.Sprintf(" w%02d", i)
		// What a byte-wise reader could break: longer runes, quotes, escapes.
		if i%10 == 7 {
			p[i] += "é世\"\\"
		}
	}
	p[0] = strings.TrimSpace(p[0])
	return p
}()

// wholeText is the whole answer.
var wholeText = strings.Join(pieces[:], "")

// answer is one stream in the making on the provider's side.
type answer struct {
	id, model string
	// skip is how many bytes of the text the request's prefill holds already.
	skip int
	// sequence numbers the events of families that number them.
	sequence int
	text     strings.Builder
	usage    usage
}

// newAnswer prepares the answer to a request. A prefill that the answer begins
// with is continued; any other is a conversation, answered from the start.
func newAnswer(id string, a ask, input int) *answer {
	skip, held := 0, 0
	if strings.HasPrefix(wholeText, a.prefill) {
		skip = len(a.prefill)
		held = tokensIn(a.prefill)
	}
	return &answer{id: id, model: a.model, skip: skip, usage: usage{Input: input + held, Output: tokens - held}}
}

// next numbers an event.
func (a *answer) next() int {
	a.sequence++
	return a.sequence - 1
}

// pieces returns the pieces that are still to be sent before the piece with
// the number end.
func (a *answer) pieces(end int) []string {
	var rest []string
	at := 0
	for _, piece := range pieces[:end] {
		if from := max(a.skip-at, 0); from < len(piece) {
			rest = append(rest, piece[from:])
		}
		at += len(piece)
	}
	return rest
}

// tokensIn counts the whole pieces at the start of a text.
func tokensIn(text string) int {
	n := 0
	for _, piece := range pieces {
		rest, ok := strings.CutPrefix(text, piece)
		if !ok {
			break
		}
		text = rest
		n++
	}
	return n
}
