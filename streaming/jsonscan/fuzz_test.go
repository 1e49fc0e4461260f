// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// FuzzScanner holds the scanner to its promises on any input: the same visits
// however the text is cut, and what is valid JSON is complete, with the values
// that a real decoder finds.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"model":"gpt\u00e9","choices":[{"delta":{"content":"hi\\\""}}],"usage":{"total":3}}`,
		`[1,-2.5e3,"a",null,true,[],{}]`, `{"list":[[[]],{"list":[1]}],"deep":[[{"x":"y"}]]}`, `{"a":1}{"b":2}`, `"\\\\\""`, "12", "tru", "[}",
	} {
		f.Add(seed, uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, a, b uint8) {
		visits, complete, broken := scan(text, max(1, len(text)))
		cutVisits, cutComplete, cutBroken := scan(text, int(a)+1, int(b)+1)
		if !slices.Equal(visits, cutVisits) || complete != cutComplete || broken != cutBroken {
			t.Errorf("whole: %q %t %t\npieces: %q %t %t", visits, complete, broken, cutVisits, cutComplete, cutBroken)
		}
		if !json.Valid([]byte(text)) || strings.Count(text, "[")+strings.Count(text, "{") > 900 {
			return
		}
		if !complete || broken {
			t.Fatalf("valid JSON: complete %t, broken %t", complete, broken)
		}
		if want, got := models(t, text), scannedModels(text); !slices.Equal(got, want) {
			t.Errorf("got the models %q, want %q", got, want)
		}
	})
}

// models lists the strings that a decoder finds under the root's key "model".
func models(t *testing.T, text string) (found []string) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
		var model string
		// Longer ones are reported in part, and bytes that are no UTF-8 are
		// reported as they are.
		if key == "model" && value[0] == '"' && json.Unmarshal(value, &model) == nil && len(value) < jsonscan.MaxValue {
			found = append(found, model)
		}
	}

	return found
}

type modelVisitor struct{ found []string }

func (m *modelVisitor) Value(_ jsonscan.ID, v jsonscan.Value) {
	if v.Kind == jsonscan.String && len(v.Raw)+2 < jsonscan.MaxValue {
		m.found = append(m.found, string([]rune(v.Text())))
	}
}
func (*modelVisitor) Open(jsonscan.ID, jsonscan.Kind) {}
func (*modelVisitor) Close(jsonscan.ID)               {}

var modelPath = jsonscan.Compile(map[string]jsonscan.ID{"model": 1})

func scannedModels(text string) []string {
	var visitor modelVisitor
	var s jsonscan.Scanner
	s.Reset(modelPath, &visitor)
	s.Write([]byte(text))
	s.End()

	return visitor.found
}
