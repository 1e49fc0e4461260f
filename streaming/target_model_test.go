// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Each target is asked for its own model, under the name that it knows, and
// all else is as the client wrote it: also after other targets were asked.
func TestEachTargetIsAskedForItsOwnModel(t *testing.T) {
	form := strings.ReplaceAll("--b\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\n\n\x00MODEL\n--b\n"+
		"Content-Disposition: form-data; name=\"model\"\n\nMODEL\n--b--\n", "\n", "\r\n")
	for name, test := range map[string]struct {
		api, base, path, media, body string
		// asked and sent have MODEL where the model stands.
		asked, sent string
		// spelled is the second model as it is spelled there.
		spelled string
	}{
		"chat": {"openai", "", "/v1/chat/completions", "application/json",
			"{ \"messages\" : [{\"role\":\"user\",\"content\":\"gpt-4o\\u00e9\"}],\r\n\t\"model\"\n:\t\"MODEL\" ,\"temperature\":1.0e0}",
			"/v1/chat/completions", "", "two/b:c"},
		"responses": {"openai", "/api/v2", "/v1/responses", "application/json", `{"input":[],"model":"MODEL"}`, "/api/v2/responses", "", "two/b:c"},
		"form":      {"openai", "", "/v1/audio/transcriptions", `multipart/form-data; boundary=b`, form, "/v1/audio/transcriptions", strings.Replace(form, "MODEL", "gpt-4o", 1), "two/b:c"},
		"messages":  {"anthropic", "", "/v1/messages", "application/json", `{"max_tokens":9,"model":"MODEL"}`, "/v1/messages", "", "two/b:c"},
		"Gemini":    {"gemini", "", "/v1beta/models/MODEL:generateContent", "application/json", ` {"contents":[{"model":"gpt-4o"}]}`, "", "", "two%2Fb:c"},
		"Gemini's embeddings": {"gemini", "", "/v1beta/models/m:batchEmbedContents", "application/json",
			`{"requests":[{"model":"models/m"}, {"model":"models/m"}]}`, "/v1beta/models/MODEL:batchEmbedContents", `{"requests":[{"model":"models/MODEL"}, {"model":"models/MODEL"}]}`, ""},
		"Azure":  {"azure", "/", "/openai/deployments/MODEL/chat/completions?api-version=1", "application/json", `{"messages":[]}`, "", "", "two%2Fb:c"},
		"Vertex": {"vertex", "/", "/v1/projects/p/locations/l/publishers/google/models/MODEL:generateContent", "application/json", `{"contents":[]}`, "", "", "two%2Fb:c"},
		"Bedrock": {"bedrock", "/", "/model/MODEL/converse", "application/json", `{"messages":[]}`,
			"", "", "two%2Fb%3Ac"},
	} {
		t.Run(name, func(t *testing.T) {
			client, second := "gpt-4o", "two/b:c"
			if name == "Gemini's embeddings" {
				client, second, test.spelled = "m", "n", "n"
			}
			up := newUpstream(t, func(http.ResponseWriter, *http.Request, string) {})
			var asked []string
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				asked = append(asked, r.URL.EscapedPath()+" "+string(body))
				if len(asked) <= 3 {
					answerJSON(w, 503, `down`)
					return
				}
				answerJSON(w, 200, `{}`)
			})
			p := pool("p", up.URL+test.base, "a-"+t.Name())
			p.API = test.api
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick, Models: []*ModelRoute{{
				Match: "*", Targets: []Target{{Provider: "p"}, {Provider: "p", Model: second}},
			}}})
			fill := func(template, model string) string { return strings.ReplaceAll(template, "MODEL", model) }
			path := fill(test.path, client)
			res, call := postAs(t, context.Background(), tr, path, test.media, fill(test.body, client))
			if res.StatusCode != 200 || call.TargetModel != second {
				t.Errorf("got %d from %s", res.StatusCode, call.TargetModel)
			}
			if test.asked == "" {
				test.asked, _, _ = strings.Cut(test.path, "?")
			}
			if test.sent == "" {
				test.sent = test.body
			}
			first, last := fill(test.asked+" "+test.sent, client), fill(test.asked+" "+test.sent, test.spelled)
			want := []string{first, first, first, last}
			for i, got := range asked {
				if i >= len(want) || got != want[i] {
					t.Errorf("asked as %q, want %q", asked, want)
					break
				}
			}
		})
	}
}

// The client sees the model and the usage of the target that answered. What a
// failed attempt has said of its own is no part of the account.
func TestOnlyTheAnswerIsAccountedFor(t *testing.T) {
	begin := func(model, input string) string {
		return "event: message_start\n" + `data: {"type":"message_start","message":{"id":"m","model":"` + model + `","usage":{"input_tokens":` + input + `,"output_tokens":1}}}` + "\n\n"
	}
	const failure = "event: error\n" + `data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}` + "\n\n"
	answer := begin("claude-fallback", "3") +
		"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n" +
		"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}` + "\n\n" +
		"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}` + "\n\n" +
		"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"
	fails := false
	up := newUpstream(t, func(http.ResponseWriter, *http.Request, string) {})
	up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"primary"`) || fails {
			stream(w, begin("claude-primary", "1000"), failure)
			return
		}
		stream(w, answer)
	})
	tr := twoModels(t, up, func(tr *Transport, _ *ModelRoute) { tr.Providers[0].API = "anthropic" })
	ask := func() (int, string, *Call) {
		res, call := post(t, context.Background(), tr, "/v1/messages", messagesBody)
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		return res.StatusCode, string(text), call
	}
	status, text, call := ask()
	if status != 200 || text != answer {
		t.Errorf("got %d %s", status, text)
	}
	usage := &call.Result.Usage
	if call.Result.Model != "claude-fallback" || usage.InputTotal() != 3 || usage.OutputTotal() != 9 || call.TargetModel != "fallback" {
		t.Errorf("asked %s, result %+v", call.TargetModel, call.Result)
	}
	last := call.Attempts[len(call.Attempts)-1]
	if len(call.Attempts) < 2 || call.Attempts[0].Verdict.Class != keypool.ClassOverloaded || last.Verdict.Class != keypool.ClassOK {
		t.Errorf("attempts: %v", call.Attempts)
	}

	fails = true
	status, text, call = ask()
	if status < 500 || len(call.Attempts) == 0 || call.Result.Model != "" || call.Result.Usage.Stated() {
		t.Errorf("of failures alone: got %d %s after %v, result %+v", status, text, call.Attempts, call.Result)
	}
}
