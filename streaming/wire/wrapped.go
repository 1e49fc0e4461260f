// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/base64"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// wrappedPaths is where Bedrock has a model's own JSON, in base64.
var wrappedPaths = jsonscan.Compile(map[string]jsonscan.ID{"bytes": factWrapped}).InPieces(factWrapped)

// unwrapper takes JSON out of the base64 within other JSON, as it comes by.
type unwrapper struct {
	scanner *Scanner
	json    jsonscan.Scanner
	// group has the n first letters of a group of four.
	group [4]byte
	n     int
	plain [384]byte
}

// begin prepares for another event of s.
func (u *unwrapper) begin(s *Scanner) {
	u.scanner, u.n = s, 0
	u.json.Reset(wrappedPaths, u)
}

// Piece takes letters of base64. Escapes, of which there is no need in them,
// lose their backslash: that is all there is to an escaped slash.
func (u *unwrapper) Piece(_ jsonscan.ID, p []byte) {
	filled := 0
	for _, c := range p {
		if c == '\\' {
			continue
		}
		u.group[u.n] = c
		if u.n++; u.n < len(u.group) {
			continue
		}
		u.n = 0
		n, err := base64.StdEncoding.Decode(u.plain[filled:], u.group[:])
		if err != nil {
			continue
		}
		if filled += n; filled > len(u.plain)-len(u.group) {
			u.pass(filled)
			filled = 0
		}
	}
	u.pass(filled)
}

// pass hands on what has been taken out.
func (u *unwrapper) pass(n int) {
	s := u.scanner
	s.text = keep(s.text, u.plain[:n])
	s.json.Write(u.plain[:n])
}

// Value does nothing: the pieces have said it all.
func (u *unwrapper) Value(jsonscan.ID, jsonscan.Value) {}

// Open does nothing.
func (u *unwrapper) Open(jsonscan.ID, jsonscan.Kind) {}

// Close does nothing.
func (u *unwrapper) Close(jsonscan.ID) {}
