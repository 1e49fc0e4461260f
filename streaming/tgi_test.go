// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"testing"
)

// Hugging Face's server generates at its root, too: whole, in an array, or
// streamed if the body says so.
func TestTextIsGeneratedAtTheRoot(t *testing.T) {
	const (
		details  = `"details":{"finish_reason":"length","generated_tokens":2,"input_length":3}`
		whole    = `[{"generated_text":"once upon",` + details + `}]`
		streamed = `data:{"index":1,"token":{"id":1,"text":"once"},"generated_text":null,"details":null}` + "\n\n" +
			`data:{"index":2,"token":{"id":2,"text":" upon"},"generated_text":"once upon",` + details + `}` + "\n\n"
	)
	for body, want := range map[string]string{`{"inputs":"tell"}`: whole, `{"inputs":"tell","stream":true}`: streamed} {
		up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
			if want == streamed {
				stream(w, streamed)
			} else {
				answerJSON(w, 200, whole)
			}
		})
		p := pool("p", up.URL, "a-"+t.Name())
		p.API = "tgi"
		res, call := post(t, context.Background(), provision(t, &Transport{Providers: []*Provider{p}, Retry: quick}), "/", body)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(text) != want || call.Outcome != OutcomeOK || len(up.requests()) != 1 || up.requests()[0].path != "/" {
			t.Errorf("%s: %v, outcome %s, asked %d times: %s", body, err, call.Outcome, len(up.requests()), text)
		}
		if usage := call.Result.Usage; usage.InputTotal() != 3 || usage.OutputTotal() != 2 || call.Result.FinishReason != "length" {
			t.Errorf("%s: %+v", body, call.Result)
		}
	}
}

// Nothing else is served at the root, nor for anybody else.
func TestNothingElseIsServedAtTheRoot(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}})
	for _, body := range []string{`{"inputs":"tell"}`, chatBody} {
		if res, call := post(t, context.Background(), tr, "/", body); res.StatusCode != http.StatusNotFound || call.Refusal != "unknown_path" || len(up.requests()) != 0 {
			t.Errorf("%s: got %d %s", body, res.StatusCode, call.Refusal)
		}
	}
}
