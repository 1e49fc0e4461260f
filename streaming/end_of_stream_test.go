// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const oldVertexChunk = `data: {"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"},"finishReason":"STOP","index":0}]}` + "\n\n"

// generate carries a streamed call in Gemini's format through.
func generate(t *testing.T, up *upstream) (text string, call *Call) {
	t.Helper()
	return generateBy(t, geminiAt(t, up.URL))
}

func geminiAt(t *testing.T, base string) *Transport {
	t.Helper()
	p := pool("p", base, "a-"+t.Name())
	p.API = "gemini"
	return provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
}

func generateBy(t *testing.T, tr *Transport) (text string, call *Call) {
	t.Helper()
	res, call := post(t, context.Background(), tr, "/v1beta/models/gemini-1.0-pro:streamGenerateContent?alt=sse", `{"contents":[]}`)
	read, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("reading the answer: %v", err)
	}
	res.Body.Close()
	return string(read), call
}

// inPieces is a provider without a network, whose stream comes in two pieces.
type inPieces struct {
	first, second string
	asked         int
}

func (p *inPieces) RoundTrip(req *http.Request) (*http.Response, error) {
	p.asked++
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1, Request: req,
		Body: io.NopCloser(io.MultiReader(strings.NewReader(p.first), strings.NewReader(p.second))),
	}, nil
}

// However its first event is cut, an answer that says something is not taken
// for one that says nothing, and not asked for twice.
func TestAnswerInOneEventIsNotEmpty(t *testing.T) {
	for cut := strings.Index(oldVertexChunk, "STOP"); cut < len(oldVertexChunk); cut++ {
		provider := &inPieces{first: oldVertexChunk[:cut], second: oldVertexChunk[cut:]}
		tr := geminiAt(t, "http://localhost:1")
		tr.Providers[0].transport = provider
		if text, call := generateBy(t, tr); text != oldVertexChunk || provider.asked != 1 || call.Outcome != OutcomeOK {
			t.Errorf("cut at %d: asked %d times, outcome %s: %s", cut, provider.asked, call.Outcome, text)
		}
	}
}

// A provider that says in every event why it ended is not cut off when it
// pauses.
func TestPauseBehindAFinishReason(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, oldVertexChunk)
		time.Sleep(endGrace + 200*time.Millisecond)
		stream(w, oldVertexChunk)
	})
	if text, call := generate(t, up); text != oldVertexChunk+oldVertexChunk || call.Outcome != OutcomeOK {
		t.Errorf("outcome %s: %s", call.Outcome, text)
	}
}

// Nor is it whole when its connection breaks.
func TestBreakBehindAFinishReason(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, oldVertexChunk)
		panic(http.ErrAbortHandler)
	})
	if text, call := generate(t, up); !strings.Contains(text, "upstream_broken") || call.Outcome != OutcomeBroken {
		t.Errorf("outcome %s: %s", call.Outcome, text)
	}
}

// A stream that ends politely in the middle of its last event is not whole.
func TestHalfTheLastEventIsABreak(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, roleChunk, chunk("one"), finishChunk[:len(finishChunk)-4])
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if _, text, call := chat(t, tr, chatStreamBody); !strings.Contains(text, "upstream_broken") || call.Outcome != OutcomeBroken {
		t.Errorf("outcome %s: %s", call.Outcome, text)
	}
}

// A stream that comes unasked, or because the provider reads the request
// otherwise than it is read here, must have its end as any other.
func TestStreamThatWasNotAskedForNeedsItsEnd(t *testing.T) {
	cut := scripted(t, func(w http.ResponseWriter, _ *http.Request) { stream(w, roleChunk, chunk("one"), chunk("two")) })
	whole := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		stream(w, roleChunk, chunk("one"), finishChunk, doneEvent)
		<-r.Context().Done() // and the connection stays open
	})
	for _, body := range []string{chatBody, `{"model":"gpt-4o","stream":true,"Stream":false,"messages":[]}`} {
		tr := provision(t, &Transport{Providers: []*Provider{pool("p", cut.URL, "a-"+t.Name())}, Retry: quick})
		if _, text, call := chat(t, tr, body); call.Outcome != OutcomeBroken || !strings.Contains(text, `"error"`) {
			t.Errorf("%s: cut off, got %q, %s", body, text, call.Outcome)
		}
		tr = provision(t, &Transport{Providers: []*Provider{pool("p", whole.URL, "b-"+t.Name())}, Retry: quick})
		if _, text, call := chat(t, tr, body); call.Outcome != OutcomeOK || !strings.HasSuffix(text, doneEvent) {
			t.Errorf("%s: whole, got %q, %s", body, text, call.Outcome)
		}
	}
}
