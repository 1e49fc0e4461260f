// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// demandOf reads a body that was sent to a path.
func demandOf(t *testing.T, path, contentType, body string) Demand {
	t.Helper()
	r, err := Recognize(http.MethodPost, &url.URL{Path: path}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ReadBody(contentType, []byte(body)); err != nil {
		t.Fatal(err)
	}

	return r.Demand([]byte(body))
}

// The bound of the answer is found wherever a family states it, and counts for
// each answer that is asked for.
func TestDemandedOutput(t *testing.T) {
	const gemini = "/v1beta/models/g:generateContent"
	for name, test := range map[string]struct {
		path, body string
		want       int64
	}{
		"chat":           {"/v1/chat/completions", `{"model":"m","max_tokens":50}`, 50},
		"chat, newer":    {"/v1/chat/completions", `{"model":"m","max_completion_tokens":70,"n":3}`, 210},
		"both":           {"/v1/chat/completions", `{"model":"m","max_tokens":50,"max_completion_tokens":70}`, 70},
		"responses":      {"/v1/responses", `{"model":"m","max_output_tokens":60}`, 60},
		"messages":       {"/v1/messages", `{"model":"m","max_tokens":80}`, 80},
		"gemini":         {gemini, `{"generationConfig":{"maxOutputTokens":90,"candidateCount":2}}`, 180},
		"gemini, snake":  {gemini, `{"generation_config":{"max_output_tokens":90}}`, 90},
		"no bound":       {"/v1/chat/completions", `{"model":"m"}`, defaultOutput},
		"not a bound":    {"/v1/chat/completions", `{"model":"m","max_tokens":"x","n":-5}`, defaultOutput},
		"negative":       {"/v1/chat/completions", `{"model":"m","max_tokens":-1}`, defaultOutput},
		"absurd":         {"/v1/chat/completions", `{"model":"m","max_tokens":9e18,"n":9e18}`, (1<<31 - 1) * 128},
		"nothing comes":  {"/v1/embeddings", `{"model":"m","input":"x","max_tokens":7}`, 0},
		"only counted":   {"/v1beta/models/g:countTokens", `{"contents":[]}`, 0},
		"not at the top": {"/v1/chat/completions", `{"model":"m","messages":[{"max_tokens":5}]}`, defaultOutput},
	} {
		if got := demandOf(t, test.path, "application/json", test.body).Output; got != test.want {
			t.Errorf("%s: %d tokens, want %d", name, got, test.want)
		}
	}
}

// Text counts by its length, whatever the script; a file counts as one thing.
func TestDemandedInput(t *testing.T) {
	ask := func(content string) int64 {
		return demandOf(t, "/v1/chat/completions", "application/json", `{"model":"m","messages":[{"role":"user","content":"`+content+`"}]}`).Input
	}
	empty := ask("")
	for name, test := range map[string]struct {
		content   string
		low, high int64
	}{
		"English": {strings.Repeat("hello there, you ", 1000), 3000, 6000},
		"Chinese": {strings.Repeat("请稍后重试", 1000), 3000, 7000},
		"image":   {"data:image/png;base64," + strings.Repeat("iVBORw0KGgo+/", 200_000) + "==", 500, 2000},
	} {
		if got := ask(test.content) - empty; got < test.low || got > test.high {
			t.Errorf("%s: %d tokens, want %d to %d", name, got, test.low, test.high)
		}
	}
	const form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n"
	if got := demandOf(t, "/v1/audio/transcriptions", "multipart/form-data; boundary=b", form).Input; got != mediaTokens {
		t.Errorf("upload: %d tokens", got)
	}
}

// Alternatives are models that a request asks for, too.
func TestAlternativeModels(t *testing.T) {
	got := demandOf(t, "/v1/chat/completions", "application/json", `{"model":"a","models":["b","c"],"fallbacks":[{"model":"d"},"e"]}`).Models
	if want := []string{"b", "c", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	many := demandOf(t, "/v1/chat/completions", "application/json", `{"model":"a","models":[`+strings.Repeat(`"b",`, 1000)+`"c"]}`).Models
	if len(many) != maxModels+1 || many[maxModels] != "" {
		t.Errorf("%d models are remembered", len(many))
	}
	for path, want := range map[string]int{"/v1/realtime?model=a": 0, "/v1/realtime": 1, "/v1/responses": 1} {
		u, _ := url.Parse(path)
		session, err := Recognize(http.MethodGet, u, http.Header{})
		if err != nil {
			t.Fatal(err)
		}
		if got := session.Demand(nil).Models; len(got) != want || want == 1 && got[0] != "" {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

// BenchmarkDemand guesses what a long prompt takes.
func BenchmarkDemand(b *testing.B) {
	body := []byte(`{"model":"m","messages":[{"content":"` + strings.Repeat("Some wörds to read. ", 10_000) + `"}]}`)
	request, err := Recognize(http.MethodPost, &url.URL{Path: "/v1/chat/completions"}, http.Header{})
	if err != nil {
		b.Fatal(err)
	}
	if err := request.ReadBody("application/json", body); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		request.Demand(body)
	}
}
