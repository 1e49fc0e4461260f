// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// endpoint is one way to ask for something.
type endpoint struct {
	name, path, body string
}

const (
	plainBody  = `{"model":"m-1","messages":[{"role":"user","content":"say it once again"}]}`
	inputBody  = `{"model":"m-1","input":"say it once again"}`
	geminiBody = `{"contents":[{"role":"user","parts":[{"text":"say it once again"}]}]}`
)

// streamed are the endpoints that answer event by event.
var streamed = []endpoint{
	{"chat", "/v1/chat/completions", `{"model":"m-1","stream":true,"messages":[{"role":"user","content":"say it once again"}]}`},
	{"chat with usage", "/v1/chat/completions", `{"model":"m-1","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"say it once again"}]}`},
	{"completions", "/v1/completions", `{"model":"m-1","stream":true,"prompt":"say it once again"}`},
	{"completions with usage", "/v1/completions", `{"model":"m-1","stream":true,"stream_options":{"include_usage":true},"prompt":"say it once again"}`},
	{"responses", "/v1/responses", `{"model":"m-1","stream":true,"input":"say it once again"}`},
	{"messages", "/v1/messages", `{"model":"m-1","stream":true,"messages":[{"role":"user","content":"say it once again"}]}`},
	{"gemini events", "/v1beta/models/m-1:streamGenerateContent?alt=sse", geminiBody},
	{"gemini array", "/v1beta/models/m-1:streamGenerateContent", geminiBody},
}

// whole are the endpoints that answer in one piece.
var whole = []endpoint{
	{"chat", "/v1/chat/completions", plainBody},
	{"completions", "/v1/completions", `{"model":"m-1","prompt":"say it once again"}`},
	{"responses", "/v1/responses", inputBody},
	{"embeddings", "/v1/embeddings", inputBody},
	{"messages", "/v1/messages", plainBody},
	{"gemini", "/v1beta/models/m-1:generateContent", geminiBody},
}

// family is that of the errors.
func (e endpoint) family() string {
	switch {
	case strings.HasPrefix(e.path, "/v1beta/"):
		return "gemini"
	case strings.HasPrefix(e.path, "/v1/messages"):
		return "anthropic"
	}
	return "openai"
}

// usage says whether the stream states what it took.
func (e endpoint) usage() bool {
	return e.path != "/v1/chat/completions" && e.path != "/v1/completions" || strings.Contains(e.body, "include_usage")
}

func (e endpoint) isArray() bool { return e.name == "gemini array" }

// with returns the endpoint asked for another model.
func (e endpoint) with(model string) endpoint {
	e.path = strings.Replace(e.path, "m-1", model, 1)
	e.body = strings.Replace(e.body, "m-1", model, 1)
	return e
}

// request asks the simulator at base.
func (e endpoint) request(t *testing.T, base string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+e.path, strings.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// serve starts a simulator and returns its base URL.
func serve(t *testing.T, opts simulator.Options) string {
	t.Helper()
	server := httptest.NewServer(simulator.New(opts))
	t.Cleanup(server.Close)
	return server.URL
}

// fault reads a fault as configs spell it.
func fault(t *testing.T, text string) simulator.Fault {
	t.Helper()
	f, err := simulator.ParseFault(strings.Fields(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// reply is an answer, as far as it came.
type reply struct {
	status int
	header http.Header
	body   string
	// broken says that the connection broke before the answer's end.
	broken bool
}

// send sends a request once; net/http would send some again.
func send(t *testing.T, req *http.Request) (reply, error) {
	t.Helper()
	req.GetBody = nil
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(body), err != nil}, nil
}

// ask asks for an answer of which at least the headers come.
func ask(t *testing.T, base string, e endpoint) reply {
	t.Helper()
	r, err := send(t, e.request(t, base))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// events returns the data of each event, and of an array the elements.
func (r reply) events(t *testing.T, e endpoint) []string {
	t.Helper()
	var events []string
	if e.isArray() {
		decoder := json.NewDecoder(strings.NewReader(r.body))
		if _, err := decoder.Token(); err != nil {
			return nil
		}
		for decoder.More() {
			var element json.RawMessage
			if decoder.Decode(&element) != nil {
				break
			}
			events = append(events, string(element))
		}
		return events
	}
	end := "\n"
	if e.family() == "gemini" {
		end = "\r\n"
	}
	for text := range strings.SplitSeq(r.body, end+end) {
		for line := range strings.SplitSeq(text, end) {
			if strings.ContainsAny(line, "\r\n") && strings.HasPrefix(line, "data:") {
				t.Errorf("a line has the wrong end: %q", line)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				events = append(events, data)
			}
		}
	}
	return events
}

// texts returns the text of each event that has any.
func (r reply) texts(t *testing.T, e endpoint) []string {
	t.Helper()
	var texts []string
	for _, data := range r.events(t, e) {
		var event struct {
			Type    string
			Delta   json.RawMessage
			Choices []struct {
				Text  string
				Delta struct{ Content string }
			}
			Candidates []struct {
				Content struct{ Parts []struct{ Text string } }
			}
		}
		if json.Unmarshal([]byte(data), &event) != nil {
			continue
		}
		var text string
		switch {
		case len(event.Choices) > 0:
			text = event.Choices[0].Text + event.Choices[0].Delta.Content
		case len(event.Candidates) > 0:
			text = event.Candidates[0].Content.Parts[0].Text
		case event.Type == "response.output_text.delta":
			_ = json.Unmarshal(event.Delta, &text)
		case event.Type == "content_block_delta":
			var delta struct{ Text string }
			_ = json.Unmarshal(event.Delta, &delta)
			text = delta.Text
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// said is what the gateway's own scanner makes of an answer.
type said struct {
	wire.Result
	ended   bool
	failure string
}

// asked returns the request as the gateway sees it.
func asked(t *testing.T, e endpoint) *wire.Request {
	t.Helper()
	u, err := url.Parse(e.path)
	if err != nil {
		t.Fatal(err)
	}
	req, err := wire.Recognize(http.MethodPost, u, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// scan reads an answer along, in small pieces.
func (r reply) scan(t *testing.T, e endpoint) said {
	t.Helper()
	s := wire.NewScanner(asked(t, e).Operation, r.status, r.header.Get("Content-Type"), "")
	defer s.Release()
	for piece := range slices.Chunk([]byte(r.body), 7) {
		s.Write(piece)
	}
	if !r.broken {
		s.Close()
	}
	return said{s.Result(), s.Ended(), string(s.Failure())}
}

// decode reads a JSON body.
func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatalf("%v: %q", err, body)
	}
	return value
}

func newGet(t *testing.T, url string) (*http.Request, error) {
	t.Helper()
	return http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
}
