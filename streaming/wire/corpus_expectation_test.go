// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// measures are the names that the recordings have for parts of the usage.
var measures = map[string]jsonscan.ID{
	"input": factInput, "output": factOutputTokens, "total": factTotal,
	"cache_read": factCacheRead, "cache_write": factCacheWrite, "cache_write_5m": factCacheWrite5m, "cache_write_1h": factCacheWrite1h,
	"reasoning": factReasoning, "audio_in": factAudioInput, "audio_out": factAudioOutput, "tool_use_prompt": factToolPrompt,
	"billed_input": factBilledInput, "billed_output": factBilledOutput, "web_search_requests": factWebSearches,
}

func differences(want recordings.Expectation, dialect *Dialect, got reading) (faults []string) {
	differ := func(what string, want, got any) {
		if fmt.Sprint(want) != fmt.Sprint(got) {
			faults = append(faults, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	differ("model", want.Model, got.Model)
	finish := want.Finish()
	if finish == nil {
		finish = ""
	}
	differ("finish", finish, got.Finish)
	differ("failed", want.FailedInside(), got.failed)
	if want.ErrorClass != "" {
		class, _ := want.Class()
		verdict := (&Request{}).Judge(http.StatusOK, nil, []byte(got.failure), time.Now())
		differ("class", class, verdict.Class)
	}
	// Some recordings of streams have been cut off, and sessions just end.
	if want.Format != "sse" && want.Format != "websocket" || want.Format == "sse" && finish != "" || want.DoneMarker {
		differ("ended or failed", true, got.ended || got.failed)
	}
	if want.Events != nil && dialect != nil {
		differ("events", *want.Events, got.Events)
		first := -1
		if want.FirstOutputEvent != nil {
			first = *want.FirstOutputEvent
		}
		// Where sessions begin to answer has not been noted.
		if want.Format != "websocket" {
			differ("first output", first, got.FirstOutputEvent)
		}
	}

	return append(faults, usageFaults(want, got.Usage)...)
}

// usageFaults tells what of the usage is not as expected, if it is none of
// what may be.
func usageFaults(want recordings.Expectation, got Usage) (faults []string) {
	// Cohere's reasoning is in what was recorded, but not in what is expected.
	raw, _ := want.Raw.(map[string]any)
	tokens, _ := raw["tokens"].(map[string]any)
	if n, ok := tokens["reasoning_tokens"]; ok {
		want.Usage["reasoning"] = n
	}
	for _, usage := range want.Usages() {
		if faults = usageDifferences(usage, got); len(faults) == 0 {
			return nil
		}
	}

	return faults
}

func usageDifferences(want recordings.Usage, got Usage) (faults []string) {
	differ := func(what string, got float64) {
		if expected, ok := want.Count(what); ok && expected != got {
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
	var aside Aside
	steps, _ := want["iterations_not_in_top_level"].([]any)
	for _, step := range steps {
		part, _ := step.(map[string]any)
		number := func(what string) int64 { n, _ := part[what].(float64); return int64(n) }
		aside.add(Aside{Input: number("input"), Output: number("output"), CacheRead: number("cache_read"), CacheWrite: number("cache_write")})
	}
	if aside != got.Aside {
		faults = append(faults, fmt.Sprintf("aside: want %+v, got %+v", aside, got.Aside))
	}
	slices.Sort(faults)

	return faults
}
