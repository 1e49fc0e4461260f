// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

// finishes are the words with which the families end an answer.
var finishes = map[string]string{
	"/v1/chat/completions": "stop", "/v1/completions": "stop", "/v1/responses": "completed", "/v1/messages": "end_turn",
}

func (e endpoint) finish() string {
	if e.family() == "gemini" {
		return "STOP"
	}
	return finishes[e.path]
}

func TestStreamsAreReadAsTheProvidersAre(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 3})
	for _, e := range streamed {
		t.Run(e.name, func(t *testing.T) {
			r := ask(t, base, e)
			if r.status != 200 || r.broken {
				t.Fatalf("status %d, broken %v", r.status, r.broken)
			}
			got := r.scan(t, e)
			if got.Model != "m-1" || got.Finish != e.finish() || got.FinishReason != "stop" {
				t.Errorf("model %q, finish %q, %q", got.Model, got.Finish, got.FinishReason)
			}
			if !got.ended || got.failure != "" {
				t.Errorf("ended %v, failure %q", got.ended, got.failure)
			}
			if got.Usage.Stated() != e.usage() {
				t.Errorf("usage stated: %v", got.Usage.Stated())
			}
			if e.usage() && (got.Usage.InputTotal() != 4 || got.Usage.OutputTotal() != 3) {
				t.Errorf("%d input and %d output tokens", got.Usage.InputTotal(), got.Usage.OutputTotal())
			}
			if texts := r.texts(t, e); !slices.Equal(texts, []string{"the ", "quick ", "brown "}) {
				t.Errorf("texts %q", texts)
			}
		})
	}
}

// What ends a stream is what a reader waits for; none of the families borrows
// that of another.
func TestStreamsEndAsTheirFamilyEndsThem(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 2})
	for _, e := range streamed {
		r := ask(t, base, e)
		events := r.events(t, e)
		last := events[len(events)-1]
		want := "[DONE]"
		switch {
		case e.family() == "anthropic":
			want = `{"type":"message_stop"}`
		case e.family() == "gemini":
			want = `"finishReason":"STOP"`
		case e.path == "/v1/responses":
			want = `"type":"response.completed"`
		}
		if !strings.Contains(last, want) {
			t.Errorf("%s: the last event is %s", e.name, last)
		}
		if strings.Contains(r.body, "[DONE]") != (want == "[DONE]") {
			t.Errorf("%s: [DONE] in %s", e.name, r.body)
		}
	}
}

func TestStreamsSayWhatTheyAre(t *testing.T) {
	base := serve(t, simulator.Options{})
	for _, e := range streamed {
		want := "text/event-stream"
		if e.isArray() {
			want = "application/json"
		}
		if got := ask(t, base, e).header.Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", e.name, got)
		}
	}
}

// The events of the Responses API are numbered, and named as their type.
func TestResponseEventsAreNumbered(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 2})
	e := streamed[4]
	r := ask(t, base, e)
	events := r.events(t, e)
	for i, data := range events {
		event := decode[struct {
			Type     string
			Sequence int `json:"sequence_number"`
		}](t, data)
		if event.Sequence != i || !strings.Contains(r.body, "event: "+event.Type+"\n") {
			t.Errorf("event %d is %s number %d", i, event.Type, event.Sequence)
		}
	}
}

func TestPlainAnswersAreReadAsTheProvidersAre(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 3})
	for _, e := range whole {
		t.Run(e.name, func(t *testing.T) {
			r := ask(t, base, e)
			if r.status != 200 || r.header.Get("Content-Type") != "application/json" {
				t.Fatalf("status %d, %s", r.status, r.header.Get("Content-Type"))
			}
			got := r.scan(t, e)
			if got.Model != "m-1" || got.Finish != e.finish() || !got.ended || got.failure != "" {
				t.Errorf("model %q, finish %q, ended %v, failure %q", got.Model, got.Finish, got.ended, got.failure)
			}
			output := int64(3)
			if e.name == "embeddings" {
				output = 0
			} else if !strings.Contains(r.body, `"the quick brown "`) {
				t.Errorf("no text in %s", r.body)
			}
			if got.Usage.InputTotal() != 4 || got.Usage.OutputTotal() != output {
				t.Errorf("%d input and %d output tokens", got.Usage.InputTotal(), got.Usage.OutputTotal())
			}
		})
	}
}

func TestEachInputHasItsEmbedding(t *testing.T) {
	base := serve(t, simulator.Options{})
	e := endpoint{"embeddings", "/v1/embeddings", `{"model":"m-1","input":["one","two"],"encoding_format":"base64"}`}
	got := decode[struct {
		Data []struct {
			Index     int
			Embedding string
		}
	}](t, ask(t, base, e).body)
	if len(got.Data) != 2 || got.Data[1].Index != 1 || got.Data[1].Embedding != "AACAPgAAAL8AAAA+AABAPw==" {
		t.Errorf("%+v", got)
	}
}

func TestAnswersHaveAsManyChunksOfTheSizeAskedFor(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 5, ChunkSize: 9, Rules: []simulator.Rule{{Match: "short-*", Chunks: 1}}})
	for _, e := range streamed {
		texts := ask(t, base, e).texts(t, e)
		if len(texts) != 5 {
			t.Errorf("%s: %d chunks", e.name, len(texts))
		}
		for _, text := range texts {
			if len(text) != 9 {
				t.Errorf("%s: a chunk of %d bytes", e.name, len(text))
			}
		}
		short := e.with("short-1")
		if texts := ask(t, base, short).texts(t, short); len(texts) != 1 {
			t.Errorf("%s: %d chunks where the rule wants 1", e.name, len(texts))
		}
	}
}

// look gets a page, as a client of that version of Anthropic's API or of another
// one.
func look(t *testing.T, url, version string) (reply, error) {
	t.Helper()
	req, err := newGet(t, url)
	if err != nil {
		t.Fatal(err)
	}
	if version != "" {
		req.Header.Set("Anthropic-Version", version)
	}
	return send(t, req)
}

func TestModelsAreListedAsEachFamilyDoes(t *testing.T) {
	base := serve(t, simulator.Options{Models: []string{"one", "two"}})
	for _, test := range []struct{ path, version, want string }{
		{"/v1/models", "", `{"data":[{"created":1750000000,"id":"one","object":"model","owned_by":"simulator"},{"created":1750000000,"id":"two","object":"model","owned_by":"simulator"}],"object":"list"}`},
		{"/v1/models", "2023-06-01", `"first_id":"one","has_more":false,"last_id":"two"`},
		{"/v1beta/models", "", `"name":"models/two"`},
		{"/v1beta/openai/models", "", `"id":"two"`},
	} {
		r, err := look(t, base+test.path, test.version)
		if err != nil || r.status != 200 || !strings.Contains(r.body, test.want) {
			t.Errorf("%s: %d, %v, %s", test.path, r.status, err, r.body)
		}
	}
}

// One model is shown if it is listed, also where faults strike what is generated;
// any other is none, in the family's own words.
func TestOneModelIsShownAsEachFamilyDoes(t *testing.T) {
	base := serve(t, simulator.Options{
		Models: []string{"one", "ft:one:org", "maker/one"}, Rules: []simulator.Rule{{Match: "*one*", Fault: fault(t, "unavailable")}},
	})
	for _, test := range []struct {
		path, version string
		status        int
		want          string
	}{
		{"/v1/models/one", "", 200, `{"created":1750000000,"id":"one","object":"model","owned_by":"simulator"}`},
		{"/v1/models/ft:one:org", "", 200, `"id":"ft:one:org"`},
		{"/v1/models/maker/one", "", 200, `"id":"maker/one"`},
		{"/v1/models/maker%2Fone", "", 200, `"id":"maker/one"`},
		{"/v1/models/two", "", 404, `"code":"model_not_found"`},
		{"/v1/models/", "", 404, `"code":"model_not_found"`},
		{"/v1/models/one", "2023-06-01", 200, `"type":"model"`},
		{"/v1/models/two", "2023-06-01", 404, `"type":"not_found_error"`},
		{"/v1beta/models/one", "", 200, `"name":"models/one"`},
		{"/v1beta/models/two", "", 404, `"status":"NOT_FOUND"`},
		{"/v1beta/openai/models/one", "", 200, `"id":"one"`},
	} {
		r, err := look(t, base+test.path, test.version)
		if err != nil || r.status != test.status || !strings.Contains(r.body, test.want) {
			t.Errorf("%s: %d, %v, %s", test.path, r.status, err, r.body)
		}
	}
}

func TestWhatIsNotSimulatedIsNotFound(t *testing.T) {
	base := serve(t, simulator.Options{})
	for _, e := range []endpoint{
		{"openai", "/v1/nothing", "{}"},
		{"openai", "/", "{}"},
		{"gemini", "/v1beta/models/m-1:predict", "{}"},
		{"gemini", "/v1beta/nothing", "{}"},
	} {
		r := ask(t, base, e)
		if r.status != 404 || !strings.Contains(r.body, `"error":{`) {
			t.Errorf("%s: %d %s", e.path, r.status, r.body)
		}
	}
}
