// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func TestRecordedErrorsAreJudged(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	table := recordings.Table{}
	for _, recording := range recordings.Load(t) {
		want := recording.Want
		if want.ErrorClass == "" || want.Status < 400 {
			continue
		}
		verdict := (&Request{}).Judge(want.Status, recording.Header, recording.Body, now)
		class, known := want.Class()
		fault := ""
		switch {
		case !known:
			fault = fmt.Sprintf("unknown class %q", want.ErrorClass)
		case verdict.Class != class:
			fault = fmt.Sprintf("want %s, got %s (%s)", class, verdict.Class, verdict.Detail)
		case verdict.Next() != keypool.Answer && !allows(want, verdict.Wait):
			fault = fmt.Sprintf("want a wait of %v, got %v", want.Hints, verdict.Wait)
		}
		if fault != "" {
			t.Errorf("%s: %s", recording.Name, fault)
		}
		table.Count(recording, fault == "")
	}
	t.Log(table)
}

// allows tells whether a wait is one that the recording states, and 0 where
// it states none.
func allows(want recordings.Expectation, wait time.Duration) bool {
	stated := false
	for _, hint := range want.Hints {
		if math.Abs(wait.Seconds()-hint.Seconds) < 1.5 && (wait > 0 || hint.Seconds == 0) {
			return true
		}
		stated = stated || hint.Seconds > 0
	}

	return !stated && wait == 0
}
