// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// classes are the corpus's names of what we call otherwise.
var classes = map[string]keypool.Class{
	"invalid_key":              keypool.ClassCredential,
	"quota_exhausted":          keypool.ClassQuota,
	"rate_limited":             keypool.ClassRateLimited,
	"request_exceeds_key_tier": keypool.ClassTier,
	"upstream_overloaded":      keypool.ClassOverloaded,
	"upstream_rate_limited":    keypool.ClassOverloaded,
	"upstream_error":           keypool.ClassUpstream,
	"key_no_permission":        keypool.ClassAccess,
	"model_not_found":          keypool.ClassModel,
	"context_length":           keypool.ClassContext,
	"content_filter":           keypool.ClassPolicy,
	"region_unsupported":       keypool.ClassRegion,
	"client_error":             keypool.ClassCaller,
	"endpoint_not_found":       keypool.ClassCaller,
}

// recordedError is a case of the corpus that is about an error.
type recordedError struct {
	Provider string `json:"provider"`
	API      string `json:"api"`
	Status   int    `json:"http_status"`
	Class    string `json:"error_class"`
	Hints    []struct {
		Seconds float64 `json:"seconds"`
		Source  string  `json:"source"`
	} `json:"cooldown_hints"`

	header http.Header
	body   []byte
}

func TestRecordedErrorsAreJudged(t *testing.T) {
	corpus := os.Getenv("LLM_CORPUS")
	if corpus == "" {
		t.Skip("LLM_CORPUS names no folder of recorded responses")
	}
	folders, err := filepath.Glob(filepath.Join(corpus, "*", "expected.json"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no recordings in %s: %v", corpus, err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	type score struct{ passed, total int }
	table := map[string]*score{}
	for _, path := range folders {
		folder := filepath.Dir(path)
		recorded, ok := readRecordedError(t, folder)
		if !ok {
			continue
		}
		line := recorded.Provider + " " + recorded.API
		if table[line] == nil {
			table[line] = &score{}
		}
		table[line].total++
		verdict := (&Request{}).Judge(recorded.Status, recorded.header, recorded.body, now)
		want, known := classes[recorded.Class]
		switch {
		case !known:
			t.Errorf("%s: unknown class %q", filepath.Base(folder), recorded.Class)
		case verdict.Class != want:
			t.Errorf("%s: want %s, got %s (%s)", filepath.Base(folder), want, verdict.Class, verdict.Detail)
		case verdict.Next() != keypool.Answer && !recorded.allows(verdict.Wait):
			t.Errorf("%s: want a wait of %v, got %v", filepath.Base(folder), recorded.Hints, verdict.Wait)
		default:
			table[line].passed++
		}
	}
	lines := make([]string, 0, len(table))
	for line, score := range table {
		lines = append(lines, fmt.Sprintf("%-45s %d/%d", line, score.passed, score.total))
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
}

// allows tells whether a wait is one that the recording states, and 0 where
// it states none.
func (e recordedError) allows(wait time.Duration) bool {
	stated := false
	for _, hint := range e.Hints {
		if math.Abs(wait.Seconds()-hint.Seconds) < 1.5 && (wait > 0 || hint.Seconds == 0) {
			return true
		}
		stated = stated || hint.Seconds > 0
	}

	return !stated && wait == 0
}

func readRecordedError(t *testing.T, folder string) (recorded recordedError, ok bool) {
	t.Helper()
	var response struct {
		Headers map[string]json.RawMessage `json:"headers"`
	}
	for name, to := range map[string]any{"expected.json": &recorded, "headers.json": &response} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, to); err != nil {
			t.Fatalf("%s of %s: %v", name, folder, err)
		}
	}
	body, err := os.ReadFile(filepath.Join(folder, "body.bin"))
	if err != nil {
		t.Fatal(err)
	}
	recorded.body = body
	recorded.header = http.Header{}
	for name, raw := range response.Headers {
		recorded.header.Set(name, strings.Trim(string(raw), `"`))
	}

	return recorded, recorded.Class != "" && recorded.Status >= 400
}
