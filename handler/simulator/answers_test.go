// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// endpoint is one way to ask the simulator.
type endpoint struct{ path, body, model string }

// plain and streamed hold each endpoint that generates something.
var (
	plain = map[string]endpoint{
		"chat":       {"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"one two three"}]}`, "m"},
		"completion": {"/v1/completions", `{"model":"m","prompt":"one two three"}`, "m"},
		"responses":  {"/v1/responses", `{"model":"m","input":"one two three"}`, "m"},
		"messages":   {"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"one two three"}]}`, "m"},
		"gemini":     {"/v1beta/models/m:generateContent", `{"contents":[{"parts":[{"text":"one two three"}]}]}`, "m"},
	}
	streamed = map[string]endpoint{
		"chat":         {"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"one two three"}]}`, "m"},
		"completion":   {"/v1/completions", `{"model":"m","stream":true,"prompt":"one two three"}`, "m"},
		"responses":    {"/v1/responses", `{"model":"m","stream":true,"input":"one two three"}`, "m"},
		"messages":     {"/v1/messages", `{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"one two three"}]}`, "m"},
		"gemini":       {"/v1beta/models/m:streamGenerateContent?alt=sse", `{"contents":[{"parts":[{"text":"one two three"}]}]}`, "m"},
		"gemini array": {"/v1beta/models/m:streamGenerateContent", `{"contents":[{"parts":[{"text":"one two three"}]}]}`, "m"},
	}
)

func serve(t *testing.T, opts simulator.Options) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(simulator.New(opts))
	t.Cleanup(server.Close)
	return server
}

// answer is what the simulator said to a call.
type answer struct {
	status int
	header http.Header
	text   string
	// err is why the answer broke off.
	err error
}

func ask(t *testing.T, server *httptest.Server, e endpoint, key string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, server.URL+e.path, strings.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := server.Client().Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text), err}
}

// scan reads an answer as the gateway would.
func scan(t *testing.T, e endpoint, a answer) (wire.Result, *wire.Scanner, *wire.Request) {
	t.Helper()
	u, err := url.Parse(e.path)
	if err != nil {
		t.Fatal(err)
	}
	request, err := wire.Recognize(http.MethodPost, u, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := request.ReadBody("application/json", []byte(e.body)); err != nil {
		t.Fatal(err)
	}
	s := wire.NewScanner(request.Operation, a.status, a.header.Get("Content-Type"), "")
	s.Write([]byte(a.text))
	s.Close()
	return s.Result(), s, request
}

// Every endpoint answers as its provider would: the gateway's own scanners
// find model, usage, reason and end.
func TestAnswersReadLikeTheProviders(t *testing.T) {
	server := serve(t, simulator.Options{Chunks: 7})
	for kind, endpoints := range map[string]map[string]endpoint{"plain": plain, "streamed": streamed} {
		for name, e := range endpoints {
			t.Run(kind+" "+name, func(t *testing.T) {
				a := ask(t, server, e, "any")
				if a.status != 200 || a.err != nil {
					t.Fatalf("got %d %s, %v", a.status, a.text, a.err)
				}
				result, s, _ := scan(t, e, a)
				if result.Model != e.model || result.FinishReason != "stop" || !s.Ended() || !s.Started() || s.Failure() != nil {
					t.Errorf("read %+v, ended %t, failure %s", result, s.Ended(), s.Failure())
				}
				withUsage := kind == "plain" || name != "completion"
				if withUsage && (result.Usage.InputTotal() != 3 || result.Usage.OutputTotal() != 7) {
					t.Errorf("usage %+v", result.Usage)
				}
			})
		}
	}
}

// A tool that is offered and wanted is called.
func TestCallsTools(t *testing.T) {
	server := serve(t, simulator.Options{})
	for name, e := range map[string]endpoint{
		"chat":     {"/v1/chat/completions", `{"model":"m","stream":true,"tool_choice":"required","tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}],"messages":[{"role":"user","content":"hi"}]}`, ""},
		"messages": {"/v1/messages", `{"model":"m","stream":true,"max_tokens":9,"tool_choice":{"type":"any"},"tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}],"messages":[{"role":"user","content":"hi"}]}`, ""},
	} {
		a := ask(t, server, e, "any")
		result, s, _ := scan(t, e, a)
		if result.FinishReason != "tool_calls" || !s.Ended() || !strings.Contains(a.text, `"weather"`) {
			t.Errorf("%s: read %+v of %s", name, result, a.text)
		}
	}
}

// How much an answer says can be set, for all models and for some.
func TestLengthCanBeSet(t *testing.T) {
	server := serve(t, simulator.Options{Chunks: 3, ChunkSize: 100, Rules: []simulator.Rule{{Match: "long-*", Chunks: 50}}})
	for model, want := range map[string]int{"m": 3, "long-m": 50} {
		e := streamed["chat"]
		e.body = strings.Replace(e.body, `"m"`, `"`+model+`"`, 1)
		a := ask(t, server, e, "any")
		if n := strings.Count(a.text, `"delta":{"content":"`) - 1; n != want && n+1 != want {
			t.Errorf("%s: %d chunks, want %d", model, n, want)
		}
		if length := len(a.text); length < want*100 {
			t.Errorf("%s: only %d bytes", model, length)
		}
	}
}

// Stats tell how often each key and model was asked, never the key itself.
func TestStats(t *testing.T) {
	server := serve(t, simulator.Options{})
	for range 3 {
		ask(t, server, plain["chat"], "sk-secret")
	}
	res, err := server.Client().Get(server.URL + "/simulator/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	want := `{"keys":{"` + simulator.Fingerprint("sk-secret") + `":3},"models":{"m":3}}`
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

// What is not simulated is not found.
func TestUnknownPath(t *testing.T) {
	if a := ask(t, serve(t, simulator.Options{}), endpoint{path: "/v1/nothing", body: "{}"}, "any"); a.status != http.StatusNotFound {
		t.Errorf("got %d %s", a.status, a.text)
	}
}
