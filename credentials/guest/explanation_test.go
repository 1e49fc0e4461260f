// SPDX-License-Identifier: Apache-2.0

package guest_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed83435595/caddy-llm-proxy/credentials/guest"
)

// An issuer's error is told on one line, in bounds, and without what was sent
// to it.
func TestExplanation(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"plain":                 {"connection refused", "connection refused"},
		"lines":                 {"one\r\n\ttwo\n", "one two"},
		"a secret":              {"no client app:canary here", "no client app:REDACTED here"},
		"a secret over lines":   {"key: canary\nof two  lines", "key: REDACTED"},
		"a token of another":    {"got eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.c2ln.", "got REDACTED."},
		"endless":               {strings.Repeat("x", 1000), strings.Repeat("x", 400) + "…"},
		"endless, not in ASCII": {strings.Repeat("ü", 1000), strings.Repeat("ü", 200) + "…"},
		"cut within a letter":   {"x" + strings.Repeat("ü", 1000), "x" + strings.Repeat("ü", 199) + "…"},
	} {
		err := guest.Explain(errors.New(test.text), "", "canary\nof two lines", "canary")
		if err == nil || err.Error() != test.want || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	if err := guest.Explain(nil, "canary"); err != nil {
		t.Errorf("of no error: got %v", err)
	}
}
