// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// However short a key is, what the gateway says itself is said as it is.
func TestShortKeyMasksNoWordsOfOurs(t *testing.T) {
	for name, test := range map[string]struct {
		path, body, want string
		answer           func(http.ResponseWriter)
	}{
		"a stream that breaks": {"/v1/chat/completions", chatStreamBody, `"request_id":"test-request"`, func(w http.ResponseWriter) {
			stream(w, roleChunk, chunk("hi"))
			panic(http.ErrAbortHandler)
		}},
		"a stream of responses that breaks": {"/v1/responses", `{"model":"gpt-4o","stream":true,"input":"hi"}`, `"message":"the provider broke the answer off before its end"`, func(w http.ResponseWriter) {
			stream(w, `data: {"type":"response.created","sequence_number":0,"response":{"id":"r-1","model":"gpt-4o"}}`+"\n\n",
				`data: {"type":"response.output_text.delta","sequence_number":1,"delta":"hi"}`+"\n\n")
			panic(http.ErrAbortHandler)
		}},
		"no answer": {"/v1/chat/completions", chatBody, `"code":"upstream_error"`, pageOf("text/html", loginPage)},
		"an error within an answer in unknown words": {"/v1/chat/completions", chatBody, `"message":"the provider reported an error before it answered`, func(w http.ResponseWriter) {
			answerJSON(w, 200, `{"error":"out of order"}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"b", "e", "t", "o"} {
				up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { test.answer(w) })
				p := &Provider{Name: "p " + t.Name(), BaseURL: up.URL, Keys: []*Key{{Secret: key}}}
				tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: Retry{Attempts: -1, WaitForKey: -1}})
				res, call := post(t, context.Background(), tr, test.path, test.body)
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if !strings.Contains(string(text), test.want) {
					t.Errorf("key %s: got %s", key, text)
				}
				if call.Cause != nil && call.Cause.Error() == errRepeats.Error() {
					t.Errorf("key %s: the cause is masked", key)
				}
			}
		})
	}
}

// What is known not to be the provider's words is logged with a short key, too.
func TestShortKeyMasksNoCauseOfOurs(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{io.ErrUnexpectedEOF, "the connection was closed"},
		{errIdleTimeout, errIdleTimeout.message},
		{errReported, errReported.Error()},
		{errors.New("malformed trailer"), errRepeats.Error()},
	} {
		call := &Call{Cause: test.err}
		if call.hideSecret(keypool.NewSecret("e")); call.Cause.Error() != test.want {
			t.Errorf("of %v: got %v", test.err, call.Cause)
		}
	}
}
