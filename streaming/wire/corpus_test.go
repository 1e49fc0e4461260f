// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// recorded are the dialects of the recorded APIs that are supported so far.
var recorded = map[string]*Dialect{
	"openai.chat":                 dialectChat,
	"openai.completions":          dialectChat,
	"openai.responses":            dialectResponses,
	"openai.responses.get":        dialectResponses,
	"openai.embeddings":           dialectEmbeddings,
	"openai.images":               dialectImages,
	"openai.audio.transcriptions": dialectAudio,
	"compat.chat":                 dialectChat,
	"compat.completions":          dialectChat,
	"compat.responses":            dialectResponses,
	"compat.embeddings":           dialectEmbeddings,
	"compat.images":               dialectImages,
	"compat.audio.transcriptions": dialectAudio,
	"compat.audio.speech":         dialectAudio,
	"azure.chat":                  dialectChat,
	"azure.completions":           dialectChat,
	"azure.responses":             dialectResponses,
	"azure.embeddings":            dialectEmbeddings,
	"anthropic.messages":          dialectMessages,
	"anthropic.count_tokens":      dialectCountTokens,
	"vertex.rawPredict":           dialectMessages,
	"vertex.streamRawPredict":     dialectMessages,
	"gemini.generate":             dialectGenerate,
	"gemini.stream":               dialectGenerate,
	"gemini.embed":                dialectGenerate,
	"gemini.openai_chat":          dialectChat,
	"vertex.generate":             dialectGenerate,
	"vertex.stream":               dialectGenerate,
	"vertex.countTokens":          dialectGenerate,
	"vertex.embed":                dialectGenerate,
}

// expectation is what a recording's answer is known to say.
type expectation struct {
	Provider         string
	API              string
	HTTPStatus       int `json:"http_status"`
	Encoding         string
	Format           string
	Model            string
	FinishReason     any            `json:"finish_reason"`
	Usage            map[string]any `json:"usage"`
	UsageIfMerged    map[string]any `json:"usage_if_merged"`
	Events           *int
	FirstOutputEvent *int `json:"first_output_event"`
	StreamError      any  `json:"stream_error"`
	BodyError        any  `json:"body_error"`
	DoneMarker       bool `json:"done_marker"`
}

// TestRecordedAnswers reads recordings of what providers really answer.
func TestRecordedAnswers(t *testing.T) {
	corpus := os.Getenv("LLM_CORPUS")
	if corpus == "" {
		t.Skip("LLM_CORPUS names no folder of recorded answers")
	}
	cases, err := filepath.Glob(filepath.Join(corpus, "*", "expected.json"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no recordings in LLM_CORPUS=%s (%v)", corpus, err)
	}
	type score struct{ passed, total, encoded int }
	table := map[string]*score{}
	random := rand.New(rand.NewPCG(1, 2))
	for _, path := range cases {
		var want expectation
		read(t, path, &want)
		dialect, ok := recorded[want.API]
		if !ok || want.HTTPStatus != http.StatusOK {
			continue
		}
		line := want.Provider + " " + want.API
		if table[line] == nil {
			table[line] = &score{}
		}
		if want.Encoding != "" {
			table[line].encoded++

			continue
		}
		table[line].total++
		folder := filepath.Dir(path)
		var recording struct{ Headers map[string]any }
		read(t, filepath.Join(folder, "headers.json"), &recording)
		body, err := os.ReadFile(filepath.Join(folder, "body.bin"))
		if err != nil {
			t.Fatal(err)
		}
		faults := compare(want, dialect, contentType(recording.Headers), body, random)
		if len(faults) == 0 {
			table[line].passed++
		} else {
			t.Errorf("%s: %s", filepath.Base(folder), strings.Join(faults, "; "))
		}
	}
	lines := make([]string, 0, len(table))
	for line, score := range table {
		lines = append(lines, fmt.Sprintf("%-45s %d/%d", line, score.passed, score.total))
		if score.encoded > 0 {
			lines[len(lines)-1] += fmt.Sprintf(" (%d compressed ones not read)", score.encoded)
		}
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
}

func contentType(headers map[string]any) string {
	for name, value := range headers {
		if strings.EqualFold(name, "Content-Type") {
			if list, ok := value.([]any); ok && len(list) > 0 {
				value = list[0]
			}

			return fmt.Sprint(value)
		}
	}

	return ""
}

// compare scans the body in pieces of many sizes, and tells what is not as
// expected.
func compare(want expectation, dialect *Dialect, contentType string, body []byte, random *rand.Rand) []string {
	whole := scanned(dialect, contentType, body, func() int { return len(body) })
	faults := differences(want, whole)
	for _, size := range []func() int{
		func() int { return 1 },
		func() int { return 1 + random.IntN(20) },
		func() int { return 1 + random.IntN(4096) },
	} {
		cut := scanned(dialect, contentType, body, size)
		if cut != whole {
			faults = append(faults, fmt.Sprintf("whole %+v, in pieces %+v", whole, cut))
		}
	}

	return faults
}

// reading is all that a scanner tells of an answer.
type reading struct {
	Result
	started, ended bool
	failure        string
	failed         bool
}

func scanned(dialect *Dialect, contentType string, body []byte, size func() int) reading {
	s := NewScanner(&Operation{Dialect: dialect}, http.StatusOK, contentType, "")
	defer s.Release()
	for len(body) > 0 {
		n := min(size(), len(body))
		piece := slices.Clone(body[:n])
		s.Write(piece)
		clear(piece)
		body = body[n:]
	}
	s.Close()

	return reading{s.Result(), s.Started(), s.Ended(), string(s.Failure()), s.Failure() != nil}
}

// measures are the names that the recordings have for parts of the usage.
var measures = map[string]jsonscan.ID{
	"input": factInput, "output": factOutputTokens, "total": factTotal,
	"cache_read": factCacheRead, "cache_write": factCacheWrite, "cache_write_5m": factCacheWrite5m, "cache_write_1h": factCacheWrite1h,
	"reasoning": factReasoning, "audio_in": factAudioInput, "audio_out": factAudioOutput, "tool_use_prompt": factToolPrompt,
}

func differences(want expectation, got reading) (faults []string) {
	differ := func(what string, want, got any) {
		if fmt.Sprint(want) != fmt.Sprint(got) {
			faults = append(faults, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	differ("model", want.Model, got.Model)
	if want.FinishReason == nil {
		want.FinishReason = ""
	}
	differ("finish", want.FinishReason, got.Finish)
	differ("failed", want.StreamError != nil || want.BodyError != nil, got.failed)
	// Some recordings of streams have been cut off.
	if want.Format != "sse" || want.FinishReason != "" || want.DoneMarker {
		differ("ended or failed", true, got.ended || got.failed)
	}
	if want.Events != nil {
		differ("events", *want.Events, got.Events)
		first := -1
		if want.FirstOutputEvent != nil {
			first = *want.FirstOutputEvent
		}
		differ("first output", first, got.FirstOutputEvent)
	}
	usage := usageDifferences(want.Usage, got.Usage)
	if len(usage) > 0 && want.UsageIfMerged != nil && len(usageDifferences(want.UsageIfMerged, got.Usage)) == 0 {
		usage = nil
	}

	return append(faults, usage...)
}

func usageDifferences(want map[string]any, got Usage) (faults []string) {
	differ := func(what string, got float64) {
		if expected, ok := want[what].(float64); ok && expected != got {
			faults = append(faults, fmt.Sprintf("%s: want %v, got %v", what, expected, got))
		}
	}
	for what, id := range measures {
		differ(what, float64(*got.tokens(id)))
		if _, stated := want[what]; stated != got.has(id) {
			faults = append(faults, fmt.Sprintf("%s stated: want %t, got %t", what, stated, got.has(id)))
		}
	}
	differ("input_total", float64(got.InputTotal()))
	differ("output_total", float64(got.OutputTotal()))
	differ("seconds", got.Seconds)
	differ("cost", got.Cost)
	slices.Sort(faults)

	return faults
}
