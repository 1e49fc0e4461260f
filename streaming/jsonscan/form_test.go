// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// placed is a log that also says where what it tells of stands.
type placed struct {
	log
	scanner jsonscan.Scanner
}

func (p *placed) Value(id jsonscan.ID, v jsonscan.Value) {
	p.log.Value(id, v)
	p.visits = append(p.visits, fmt.Sprintf("at %d to %d", v.Start, v.End))
}

func (p *placed) Open(id jsonscan.ID, kind jsonscan.Kind) {
	p.log.Open(id, kind)
	p.visits = append(p.visits, fmt.Sprintf("at %d", p.scanner.Offset()))
}

func (p *placed) Close(id jsonscan.ID) {
	p.log.Close(id)
	p.visits = append(p.visits, fmt.Sprintf("at %d", p.scanner.Offset()))
}

// visits scans a whole text, and returns all that there is to see of it.
func (p *placed) scan(paths *jsonscan.Paths, text string) []string {
	p.visits, p.text = nil, []byte(text)
	p.scanner.Reset(paths, p)
	p.scanner.Write([]byte(text))
	p.scanner.End()

	return append(p.visits, fmt.Sprint(p.scanner.Complete(), p.scanner.Broken(), p.scanner.Between(), p.scanner.Offset()))
}

var alike = []string{
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}}],"n":-1.5e3,"ok":true,"usage":{"total":3}}`,
	`{"model":"g\"\\","choices":[{"delta":{"content":""}}],"n":0,"ok":true,"usage":{"total":"17"}}`,
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}}],"n":1,"ok":null,"usage":{"total":3}}`,
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}}],"n":1,"ok":true,"usage":{"total":3}`,
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}}],"n":-,"ok":true,"usage":{"total":3}}`,
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}}],"n":1,"ok":true,"usage":{"total":3}} `,
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}}],"n":1,"ok":true,"usage":{"total":3}}{"model":"gpt"}`,
	`{"model":"` + strings.Repeat("x", 2*jsonscan.MaxValue) + `","choices":[{"delta":{"content":"hi\\"}}],"n":1,"ok":true,"usage":{"total":3}}`,
	`{"model":"gpt","choices":[{"delta":{"content":"hi"}},{"delta":{"content":"hi"}}],"n":1,"ok":true,"usage":{"total":3}}`,
	`{"model" : "gpt", "list":[1,2,"x"]}`, `{"model" : "", "list":[0,-2,"\""]}`, `[{"model":"a"}]`, `["a"]`, `[1]`, `[]`, `{}`, `"x"`, `1`, `[{]`,
}

// A text that is compared with others is seen as one that is read alone.
func TestFormsHideNothing(t *testing.T) {
	learning := jsonscan.Compile(places).LearnForms()
	var with, without placed
	for range 3 {
		for _, text := range alike {
			if got, want := with.scan(learning, text), without.scan(paths, text); !slices.Equal(got, want) {
				t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
			}
		}
	}
}

// Many forms come and go: what is learned late counts as well.
func TestFormsAreReplaced(t *testing.T) {
	learning := jsonscan.Compile(places).LearnForms()
	var with, without placed
	for i := range 3000 {
		text := fmt.Sprintf(`{"model":"gpt-%d","x%d":[%d]}`, i, i/100, i)
		if got, want := with.scan(learning, text), without.scan(paths, text); !slices.Equal(got, want) {
			t.Fatalf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
}

// FuzzForms compares what is seen of two texts with and without having learned
// from the one.
func FuzzForms(f *testing.F) {
	for i, text := range alike {
		f.Add(text, alike[(i+1)%len(alike)])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		learning := jsonscan.Compile(places).LearnForms()
		var with, without placed
		for _, text := range []string{first, second, first, second} {
			if got, want := with.scan(learning, text), without.scan(paths, text); !slices.Equal(got, want) {
				t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
			}
		}
	})
}
