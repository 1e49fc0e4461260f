// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

var piecePaths = jsonscan.Compile(map[string]jsonscan.ID{"long": 1, "list.*": 1, "short": 2}).InPieces(1)

// gatherer joins the pieces of strings.
type gatherer struct {
	nobody
	text, values strings.Builder
}

func (g *gatherer) Piece(_ jsonscan.ID, p []byte) { g.text.Write(p) }

func (g *gatherer) Value(_ jsonscan.ID, v jsonscan.Value) {
	g.text.WriteByte('|')
	g.values.WriteString(v.Text()[:min(len(v.Raw), 3)] + "|")
}

func TestLongStringsComeInPieces(t *testing.T) {
	long := strings.Repeat("abc", jsonscan.MaxValue)
	text := []byte(`{"x":"no","short":"s","long":"` + long + `","list":["a\"\\",{},7,"","b"]}`)
	for _, size := range []int{1, 2, 7, 300, len(text)} {
		var s jsonscan.Scanner
		g := &gatherer{}
		s.Reset(piecePaths, g)
		for rest := text; len(rest) > 0; {
			n := min(size, len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		if want := "|" + long + `|a\"\\|||b|`; g.text.String() != want {
			t.Errorf("in pieces of %d: %q", size, g.text.String())
		}
		if want := `s|abc|a"\|7||b|`; g.values.String() != want {
			t.Errorf("in pieces of %d: values %q, want %q", size, g.values.String(), want)
		}
	}
}
