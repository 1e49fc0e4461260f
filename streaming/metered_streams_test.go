// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// metered is a provider whose streams state their usage only if they are asked
// to, cut into random pieces.
func metered(t *testing.T, plain string, random *rand.Rand) *upstream {
	return newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		text := plain
		if asked(r) {
			text = withUsage(plain)
		}
		for most := 1 + random.IntN(3000); len(text) > 0; {
			n := min(1+random.IntN(most), len(text))
			stream(w, text[:n])
			text = text[n:]
		}
	})
}

// asked tells whether a request asked for the usage. Its body has been read, so
// its length must do.
func asked(r *http.Request) bool { return r.ContentLength > int64(len(chatStreamBody)) }

// withUsage returns a stream as it is when its usage was asked for: with an
// empty usage in each event, and an event that states it before the end.
func withUsage(plain string) string {
	lineEnd := "\n"
	if strings.Contains(plain, "\r\n") {
		lineEnd = "\r\n"
	}
	extra := `data: {"id":"x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}` + lineEnd + lineEnd
	var out strings.Builder
	done := false
	for line := range strings.Lines(plain) {
		text := strings.TrimRight(line, "\r\n ")
		switch {
		case strings.HasPrefix(text, "data:") && strings.Contains(text, "[DONE]"):
			out.WriteString(extra)
			done = true
		case strings.HasPrefix(text, "data:") && strings.HasSuffix(text, "}") && !hasUsage(text):
			out.WriteString(text[:len(text)-1] + `,"usage":null}`)
			line = line[len(text):]
		}
		out.WriteString(line)
	}
	if !done && strings.HasSuffix(plain, lineEnd+lineEnd) {
		out.WriteString(extra)
	}
	return out.String()
}

// dataOf returns the object that a line of an event holds; nil if there is
// none.
func dataOf(line string) map[string]json.RawMessage {
	_, data, _ := strings.Cut(line, ":")
	var object map[string]json.RawMessage
	_ = json.Unmarshal([]byte(data), &object)
	return object
}

func hasUsage(line string) bool {
	object := dataOf(line)
	return object == nil || object["usage"] != nil
}

var emptyUsage = regexp.MustCompile(`,\s*"usage":\s*null|"usage":\s*null\s*,`)

// withoutUsage returns a recorded stream as it would be, had its usage not been
// asked for.
func withoutUsage(recorded string) string {
	blank := regexp.MustCompile(`\r?\n\r?\n`)
	var out strings.Builder
	for recorded != "" {
		event := recorded
		if end := blank.FindStringIndex(recorded); end != nil {
			event = recorded[:end[1]]
		}
		recorded = recorded[len(event):]
		object := dataOf(event)
		if string(bytes.TrimSpace(object["choices"])) == "[]" && bytes.HasPrefix(object["usage"], []byte("{")) {
			continue
		}
		if string(object["usage"]) == "null" {
			event = emptyUsage.ReplaceAllString(event, "")
		}
		out.WriteString(event)
	}
	return out.String()
}

// chatStreams are streams of chats: recorded ones too, if there are any.
func chatStreams(t *testing.T) map[string]string {
	streams := map[string]string{
		"plain":        roleChunk + chunk("one") + chunk("two") + finishChunk + doneEvent,
		"CRLF":         strings.ReplaceAll(": hi\n\n"+roleChunk+chunk("one")+finishChunk+doneEvent, "\n", "\r\n"),
		"look-alikes":  roleChunk + chunk(`{\"choices\":[],\"usage\":null}`) + finishChunk + doneEvent,
		"no end":       strings.TrimSuffix(roleChunk+chunk("one")+finishChunk, "\n"),
		"a filter":     `data: {"choices":[],"prompt_filter_results":[{}]}` + "\n\n" + roleChunk + chunk("one") + finishChunk + doneEvent,
		"many lines":   "event: m\nid: 1\n" + roleChunk + "retry: 5\n" + chunk("one") + finishChunk + doneEvent,
		"large events": roleChunk + chunk(strings.Repeat("é ", 60_000)) + finishChunk + doneEvent,
	}
	recordings, _ := filepath.Glob(filepath.Join(os.Getenv("LLM_CORPUS"), "*", "expected.json"))
	for _, path := range recordings {
		var want struct{ API, Format string }
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Dir(path)
		body, err := os.ReadFile(filepath.Join(folder, "body.bin"))
		if err != nil {
			t.Fatal(err)
		}
		_, api, _ := strings.Cut(want.API, ".")
		// Whether a stream that fails is passed on depends on how it is cut.
		failed := bytes.Contains(body, []byte(`"error":`)) || bytes.Contains(body, []byte("error:"))
		if want.Format == "sse" && (api == "chat" || api == "completions" || api == "openai_chat") && !failed {
			streams[filepath.Base(folder)] = withoutUsage(string(body))
		}
	}
	if os.Getenv("LLM_CORPUS") != "" && len(streams) < 20 {
		t.Fatalf("only %d streams", len(streams))
	}
	return streams
}
