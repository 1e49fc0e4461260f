// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// recording is a span that remembers what it was told.
type recording struct {
	noop.Span
	told map[attribute.Key]string
}

func (*recording) IsRecording() bool { return true }

func (s *recording) SetAttributes(attributes ...attribute.KeyValue) {
	for _, a := range attributes {
		s.told[a.Key] = a.Value.String()
	}
}

// The span of a request is told what the call was about and how it ended, of a
// refused one too.
func TestSpanIsToldOfTheCall(t *testing.T) {
	span := &recording{told: map[attribute.Key]string{}}
	ctx := trace.ContextWithSpan(t.Context(), span)
	asked, err := wire.Recognize(http.MethodPost, &url.URL{Path: "/v1/chat/completions"}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	asked.Model = "gpt-4o"
	a := account{client: "app", call: &streaming.Call{
		Request: asked, Provider: "openai", KeyID: "good", Outcome: streaming.OutcomeOK,
		Attempts: make([]streaming.Attempt, 2), FirstToken: 1500 * time.Microsecond,
		Result: wire.Result{Model: "gpt-4o-2024", Finish: "stop"},
	}}
	a.trace(ctx)
	told := span.told
	for name, want := range map[attribute.Key]string{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai",
		"gen_ai.response.model": "gpt-4o-2024", "gen_ai.response.finish_reasons": `["stop"]`,
		"llm.outcome": "ok", "llm.client.id": "app", "llm.key.id": "good", "llm.attempts": "2", "llm.first_token_ms": "1.5",
	} {
		if told[name] != want {
			t.Errorf("%s is %q, want %q", name, told[name], want)
		}
	}
	if told["error.type"] != "" {
		t.Errorf("a call that ended well has the error %q", told["error.type"])
	}

	r := request("/v1/chat/completions", chat, "Authorization", "Bearer nobody")
	behind(withClient(t), r.WithContext(ctx), func(http.ResponseWriter, *http.Request) error { return nil })
	if told["llm.outcome"] != "refused" || told["error.type"] != "refused" {
		t.Errorf("of a refused call: %v", told)
	}
}

// Where nobody traces, nothing is made of it.
func TestNoSpanCostsNothing(t *testing.T) {
	a := account{call: new(streaming.Call)}
	if n := testing.AllocsPerRun(100, func() { a.trace(context.Background()) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
