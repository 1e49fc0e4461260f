// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// Order is what a request asks for that some providers have paid by the piece,
// and that no answer states.
type Order struct {
	// Characters is the length of a text that is to be spoken.
	Characters int64
	// Size is that of the pictures that are to be made, such as "1024x1024",
	// and Quality the provider's word for theirs, such as "hd". They are empty
	// if the request does not say.
	Size, Quality string
}

// maxOrder bounds the words for sizes and qualities, in bytes: prices are looked
// up by them.
const maxOrder = 32

// orderOf returns what is ordered by a body that was read.
func (b *bodyFacts) orderOf(op *Operation, body []byte) (o Order) {
	if op.draws {
		o.Size, o.Quality = b.size, b.quality
	}
	var text string
	if op.speaks && b.input.end > 0 && json.Unmarshal(body[b.input.start:b.input.end], &text) == nil {
		o.Characters = int64(utf8.RuneCountInString(text))
	}

	return o
}

// order takes a value of the body that says what is ordered.
func (b *bodyFacts) order(id jsonscan.ID, v jsonscan.Value) {
	switch {
	case v.Kind != jsonscan.String:
	case id == atInput:
		b.input = place{start: v.Start, end: v.End}
	case len(v.Raw) > maxOrder:
	case id == atSize:
		b.size = v.Text()
	case id == atQuality:
		b.quality = v.Text()
	}
}
