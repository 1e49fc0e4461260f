// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorded are the dialects of the recorded APIs; nil for what passes unread.
// What is not named here is looked for among OpenAI's, by the rest of its name:
// most providers speak OpenAI's format.
var recorded = map[string]*Dialect{
	"anthropic.messages":     dialectMessages,
	"anthropic.complete":     dialectComplete,
	"anthropic.count_tokens": dialectCountTokens,

	"gemini.generate":     dialectGenerate,
	"gemini.stream":       dialectGenerate,
	"gemini.countTokens":  dialectGenerate,
	"gemini.embed":        dialectEmbed,
	"gemini.interactions": dialectInteractions,
	"gemini.live":         dialectLive,
	"gemini.openai_chat":  dialectChat,
	"gemini.predict":      dialectEmbed,

	"vertex.generate":         dialectGenerate,
	"vertex.stream":           dialectGenerate,
	"vertex.countTokens":      dialectGenerate,
	"vertex.embed":            dialectEmbed,
	"vertex.predict":          dialectEmbed,
	"vertex.rawPredict":       dialectMessages,
	"vertex.streamRawPredict": dialectMessages,
	"vertex.openai_chat":      dialectChat,

	"bedrock.converse":        dialectConverse,
	"bedrock.converse-stream": dialectConverse,
	"bedrock.invoke":          dialectInvoke,
	"bedrock.invoke-stream":   dialectInvoke,
	"bedrock.count-tokens":    nil,

	"cohere.v1.chat":     dialectCohere,
	"cohere.v1.generate": dialectCohere,
	"cohere.v2.chat":     dialectCohere,
	"cohere.embed":       dialectCohere,
	"cohere.rerank":      dialectCohere,
	"cohere.compat_chat": dialectChat,

	"ollama.chat":     dialectOllama,
	"ollama.generate": dialectOllama,
	"ollama.embed":    dialectOllamaEmbed,

	"tgi.generate":         dialectTGI,
	"dashscope.generation": dialectDashScope,

	"deepgram.listen": nil,
	"deepgram.speak":  nil,
}

// recordedOpenAI are the dialects of OpenAI's APIs, whoever offers them.
var recordedOpenAI = map[string]*Dialect{
	"chat":                 dialectChat,
	"completions":          dialectChat,
	"responses":            dialectResponses,
	"responses.get":        dialectResponses,
	"embeddings":           dialectEmbeddings,
	"moderations":          dialectEmbeddings,
	"rerank":               dialectEmbeddings,
	"ocr":                  dialectEmbeddings,
	"fim":                  dialectChat,
	"agents":               dialectChat,
	"images":               dialectImages,
	"audio.transcriptions": dialectAudio,
	"audio.translations":   dialectAudio,
	"audio.speech":         dialectAudio,
	"realtime":             dialectRealtime,
	"batches":              dialectBatch,
	"messages":             dialectMessages,
	"files":                nil,
	"models":               nil,
}

// recordedDialect returns the dialect of a recorded API.
func recordedDialect(api string) (d *Dialect, known bool) {
	if d, known = recorded[api]; known {
		return d, true
	}
	provider, rest, _ := strings.Cut(api, ".")
	if provider != "openai" && rest == "batches" {
		// Elsewhere a batch does not say what it has used.
		return nil, true
	}
	d, known = recordedOpenAI[rest]

	return d, known
}

// dialectOfPath returns the dialect that the path of a recorded request leads
// to.
func dialectOfPath(t *testing.T, folder string) (d *Dialect, known bool) {
	t.Helper()
	var request struct{ Method, Path string }
	read(t, filepath.Join(folder, "request.json"), &request)
	u, err := url.ParseRequestURI(request.Path)
	if err != nil {
		return nil, false
	}
	r, err := Recognize(request.Method, u, http.Header{})
	if err != nil {
		return nil, false
	}

	return r.Operation.Dialect, true
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
	type score struct{ passed, total int }
	table := map[string]*score{}
	random := rand.New(rand.NewPCG(1, 2))
	for _, path := range cases {
		var want expectation
		read(t, path, &want)
		if want.HTTPStatus >= http.StatusBadRequest {
			continue
		}
		line := want.Provider + " " + want.API
		if table[line] == nil {
			table[line] = &score{}
		}
		table[line].total++
		folder := filepath.Dir(path)
		var answer recording
		read(t, filepath.Join(folder, "headers.json"), &answer)
		answer.body, err = os.ReadFile(filepath.Join(folder, "body.bin"))
		if err != nil {
			t.Fatal(err)
		}
		var known bool
		if answer.dialect, known = recordedDialect(want.API); !known {
			answer.dialect, known = dialectOfPath(t, folder)
		}
		if !known {
			t.Errorf("%s: nobody knows the API %s", filepath.Base(folder), want.API)

			continue
		}
		if faults := compare(want, answer, random); len(faults) > 0 {
			t.Errorf("%s: %s", filepath.Base(folder), strings.Join(faults, "; "))
		} else {
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

// recording is an answer as it was recorded.
type recording struct {
	Headers map[string]any
	dialect *Dialect
	body    []byte
}

// header returns the recorded header, of which lists have one element.
func (r recording) header() http.Header {
	h := http.Header{}
	for name, value := range r.Headers {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		h.Set(name, fmt.Sprint(value))
	}

	return h
}

// compare scans the body in pieces of many sizes, and tells what is not as
// expected.
func compare(want expectation, answer recording, random *rand.Rand) []string {
	h := answer.header()
	scan := func(size func() int) reading {
		op := &Operation{Dialect: answer.dialect}
		if want.Format == "websocket" {
			return session(op, answer.body, size)
		}
		s := NewScanner(op, want.HTTPStatus, h.Get("Content-Type"), h.Get("Content-Encoding"))
		s.ReadHeader(h)

		return feed(s, answer.body, size)
	}
	whole := scan(func() int { return len(answer.body) })
	faults := differences(want, answer.dialect, whole)
	for _, size := range []func() int{
		func() int { return 1 },
		func() int { return 1 + random.IntN(20) },
		func() int { return 1 + random.IntN(4096) },
	} {
		if cut := scan(size); cut != whole {
			faults = append(faults, fmt.Sprintf("whole %+v, in pieces %+v", whole, cut))
		}
	}

	return faults
}

// session scans messages, of which each stands on a line.
func session(op *Operation, body []byte, size func() int) reading {
	s := NewSessionScanner(op)
	defer s.Release()
	for message := range bytes.Lines(body) {
		message = bytes.TrimSpace(message)
		for len(message) > 0 {
			n := min(size(), len(message))
			s.Write(message[:n])
			message = message[n:]
		}
		s.EndMessage()
	}

	return told(s)
}

// reading is all that a scanner tells of an answer.
type reading struct {
	Result
	started, ended bool
	failure        string
	failed         bool
}

func scanned(dialect *Dialect, contentType string, body []byte, size func() int) reading {
	return feed(NewScanner(&Operation{Dialect: dialect}, http.StatusOK, contentType, ""), body, size)
}

// feed writes the body in pieces, and releases the scanner.
func feed(s *Scanner, body []byte, size func() int) reading {
	defer s.Release()
	for len(body) > 0 {
		n := min(size(), len(body))
		piece := slices.Clone(body[:n])
		s.Write(piece)
		clear(piece)
		body = body[n:]
	}
	s.Close()

	return told(s)
}

func told(s *Scanner) reading {
	return reading{s.Result(), s.Started(), s.Ended(), string(s.Failure()), s.Failure() != nil}
}
