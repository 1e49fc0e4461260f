// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"reflect"
	"testing"
)

func TestTotalsCanBeCompared(t *testing.T) {
	for _, test := range []struct {
		name, usage   string
		input, output int64
	}{
		{"OpenAI", `{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"completion_tokens_details":{"reasoning_tokens":6}}`, 5, 7},
		{"xAI counts reasoning apart", `{"prompt_tokens":5,"completion_tokens":7,"total_tokens":18,"completion_tokens_details":{"reasoning_tokens":6}}`, 5, 13},
		{"Mistral counts audio apart", `{"prompt_tokens":5,"completion_tokens":7,"total_tokens":20,"prompt_tokens_details":{"audio_tokens":8}}`, 13, 7},
		{"Gemini hides its reasoning", `{"prompt_tokens":5,"completion_tokens":7,"total_tokens":20}`, 5, 15},
		{"a total that is too small", `{"prompt_tokens":5,"completion_tokens":7,"total_tokens":2}`, 5, 7},
		{"no output", `{"prompt_tokens":5,"total_tokens":5}`, 5, 0},
		{"floats and texts", `{"prompt_tokens":5.0,"completion_tokens":"7"}`, 5, 7},
		{"what is no number", `{"prompt_tokens":{},"completion_tokens":-7,"total_tokens":true}`, 0, 0},
	} {
		got := scanned(dialectChat, jsonType, []byte(`{"usage":`+test.usage+`}`), func() int { return 100 }).Usage
		if got.InputTotal() != test.input || got.OutputTotal() != test.output {
			t.Errorf("%s: %d and %d", test.name, got.InputTotal(), got.OutputTotal())
		}
	}
}

func TestCostsAreInDollars(t *testing.T) {
	for usage, want := range map[string]float64{
		`{"cost":0.25}`:                        0.25,
		`{"cost":{"total_cost":0.25}}`:         0.25,
		`{"cost_in_usd_ticks":2500000000}`:     0.25,
		`{"cost":null,"prompt_tokens":1}`:      0,
		`{"cost":"free","prompt_tokens":1}`:    0,
		`{"cost":-0.25,"total_tokens":1}`:      0,
		`{"cost_details":{"x":1},"cost":1}`:    1,
		`{"cost":1e999,"completion_tokens":1}`: 0,
	} {
		got := scanned(dialectChat, jsonType, []byte(`{"usage":`+usage+`}`), func() int { return 100 }).Usage
		if fmt.Sprintf("%.6f", got.Cost) != fmt.Sprintf("%.6f", want) || !got.Stated() {
			t.Errorf("%s: %g, stated %t", usage, got.Cost, got.Stated())
		}
	}
}

// A price or a duration is not a usage of no tokens.
func TestTokensAreStatedOrNot(t *testing.T) {
	for usage, want := range map[string]bool{
		`{"cost":0.25}`:           false,
		`{"cost_in_usd_ticks":1}`: false,
		`{"prompt_tokens":0}`:     true,
		`{"total_tokens":3}`:      true,
		`{}`:                      false,
	} {
		if got := scanned(dialectChat, jsonType, []byte(`{"usage":`+usage+`}`), func() int { return 100 }).Usage; got.StatedTokens() != want {
			t.Errorf("%s: %t", usage, got.StatedTokens())
		}
	}
	for id := factInput; id <= lastTokens; id++ {
		var u Usage
		if u.state(id, 1); !u.StatedTokens() {
			t.Errorf("fact %d is tokens", id)
		}
	}
}

// Every part of a usage that a dialect reads must have a place to go to, and
// no two the same.
func TestEveryPartOfTheUsageHasItsPlace(t *testing.T) {
	var u Usage
	for id := factInput; id <= lastTokens; id++ {
		*u.tokens(id) = int64(id)
	}
	for id := factInput; id <= lastTokens; id++ {
		if got := *u.tokens(id); got != int64(id) {
			t.Errorf("fact %d shares its place with fact %d", id, got)
		}
	}
	if reflect.TypeFor[Usage]().NumField() != int(factCost-factInput)+1+6 {
		t.Error("a field of Usage has no fact")
	}
}
