// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
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
func dialectOfPath(request recordings.Request) (d *Dialect, known bool) {
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
	table := recordings.Table{}
	random := rand.New(rand.NewPCG(1, 2))
	for _, recording := range recordings.Load(t) {
		want := recording.Want
		if want.Status >= http.StatusBadRequest {
			continue
		}
		dialect, known := recordedDialect(want.API)
		if !known {
			dialect, known = dialectOfPath(recording.Request)
		}
		var faults []string
		if known {
			faults = compare(recording, dialect, random)
		} else {
			faults = []string{"nobody knows the API " + want.API}
		}
		if len(faults) > 0 {
			t.Errorf("%s: %s", recording.Name, strings.Join(faults, "; "))
		}
		table.Count(recording, len(faults) == 0)
	}
	t.Log(table)
}

// compare scans the body in pieces of many sizes, and tells what is not as
// expected.
func compare(answer recordings.Recording, dialect *Dialect, random *rand.Rand) []string {
	want, h := answer.Want, answer.Header
	scan := func(size func() int) reading {
		op := &Operation{Dialect: dialect}
		if want.Format == "websocket" {
			return session(op, answer.Body, size)
		}
		s := NewScanner(op, want.Status, h.Get("Content-Type"), h.Get("Content-Encoding"))
		s.ReadHeader(h)

		return feed(s, answer.Body, size)
	}
	whole := scan(func() int { return len(answer.Body) })
	faults := differences(want, dialect, whole)
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
