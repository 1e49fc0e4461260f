// SPDX-License-Identifier: Apache-2.0

// Package recordings reads what providers were recorded to answer, for tests.
//
// The environment variable LLM_CORPUS names a folder with a folder for each
// recording: request.json is what was asked, headers.json and body.bin are
// what came (of a session, frames.jsonl is what was said), and expected.json is
// what that is known to say.
package recordings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Recording is one answer of a provider, with the request it belongs to.
type Recording struct {
	// Name is the name of the recording's folder.
	Name    string
	Request Request
	// Header and Body are the answer, as recorded.
	Header http.Header
	Body   []byte
	// Messages are what was said in a session over a WebSocket, by both sides.
	Messages []Message
	// Want is what the answer is known to say.
	Want Expectation
}

// Request is what was asked, as far as it was recorded.
type Request struct {
	Method, URL, Path string
	// Body is a JSON body, and null where there was another or none.
	Body json.RawMessage
	// Text is a body that is not JSON, or the beginning of one if Truncated.
	Text      string `json:"body_text"`
	Truncated bool   `json:"body_truncated"`
	// Header is the part of the header that was kept.
	Header http.Header `json:"-"`
}

// Message is a message of a session.
type Message struct {
	// Dir is "sent" by the client, or "received" by it.
	Dir  string
	Data json.RawMessage
}

// Load reads all recordings, and skips the test if there are none to be read.
func Load(t testing.TB) []Recording {
	t.Helper()
	corpus := os.Getenv("LLM_CORPUS")
	if corpus == "" {
		t.Skip("LLM_CORPUS names no folder of recorded answers")
	}
	paths, err := filepath.Glob(filepath.Join(corpus, "*", "expected.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings in LLM_CORPUS=%s (%v)", corpus, err)
	}
	all := make([]Recording, len(paths))
	for i, path := range paths {
		if all[i], err = load(filepath.Dir(path)); err != nil {
			t.Fatalf("reading %s: %v", filepath.Dir(path), err)
		}
	}

	return all
}

func load(folder string) (Recording, error) {
	r := Recording{Name: filepath.Base(folder)}
	var asked, answered struct{ Headers headers }
	for _, file := range []struct {
		name string
		into any
	}{
		{"request.json", &r.Request}, {"request.json", &asked}, {"headers.json", &answered}, {"expected.json", &r.Want},
	} {
		content, err := os.ReadFile(filepath.Join(folder, file.name))
		if err == nil {
			err = json.Unmarshal(content, file.into)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", file.name, err)
		}
	}
	r.Request.Header, r.Header = asked.Headers.header(), answered.Headers.header()
	var err error
	if r.Body, err = os.ReadFile(filepath.Join(folder, "body.bin")); err != nil {
		return r, fmt.Errorf("body.bin: %w", err)
	}
	frames, err := os.ReadFile(filepath.Join(folder, "frames.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	for line := range bytes.Lines(frames) {
		var message Message
		if err = json.Unmarshal(line, &message); err != nil {
			break
		}
		r.Messages = append(r.Messages, message)
	}
	if err != nil {
		return r, fmt.Errorf("frames.jsonl: %w", err)
	}

	return r, nil
}

// headers are texts, or lists of them of which the first counts.
type headers map[string]any

func (h headers) header() http.Header {
	out := http.Header{}
	for name, value := range h {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		out.Set(name, fmt.Sprint(value))
	}

	return out
}
