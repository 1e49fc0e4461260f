// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

const loginPage = "<!DOCTYPE html>\n<html><head><title>Log in to the network</title></head></html>"

// pageOf answers as a captive portal does, or the login page of a CDN.
func pageOf(media, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", media)
		_, _ = io.WriteString(w, text)
	}
}

// noAnswers are successes that no model has made.
var noAnswers = map[string]struct {
	class  string
	answer func(http.ResponseWriter)
}{
	"no body":         {"empty", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "0") }},
	"no chunk":        {"empty", func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }},
	"no content":      {"empty", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }},
	"not modified":    {"empty", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotModified) }},
	"only blanks":     {"empty", pageOf("application/json", " \r\n\n")},
	"an empty stream": {"empty", pageOf("text/event-stream", "")},
	"a page":          {"upstream", pageOf("text/html; charset=utf-8", loginPage)},
	"a page in words": {"upstream", pageOf("text/html", "please log in")},
	"a page as JSON":  {"upstream", pageOf("application/json", "\n"+loginPage)},
	"an encoded page": {"upstream", func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/html")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, loginPage)
		_ = z.Close()
	}},
	"a page that goes on": {"upstream", func(w http.ResponseWriter) {
		pageOf("text/html", loginPage)(w)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, strings.Repeat(loginPage, 1000)) // more than is held back
	}},
}

// A success that is no answer at all is the provider's fault: another target is
// asked.
func TestSuccessWithoutAnAnswerMovesOn(t *testing.T) {
	for name, it := range noAnswers {
		for kind, body := range map[string]string{"whole": chatBody, "stream": chatStreamBody} {
			t.Run(name+", "+kind, func(t *testing.T) {
				up := newFailing(t, func(w http.ResponseWriter, _ *http.Request, _ int) { it.answer(w) })
				status, text, call := chat(t, twoModels(t, up, nil), body)
				if status != 200 || !strings.Contains(text, "fallback") || call.TargetModel != "fallback" {
					t.Errorf("got %d %q", status, text)
				}
				if class := call.Attempts[0].Verdict.Class.String(); class != it.class {
					t.Errorf("class %s, want %s", class, it.class)
				}
				if n := up.asked("primary"); n != 3 {
					t.Errorf("asked %d times, want 3: once and two retries", n)
				}
			})
		}
	}
}

// Where nothing is left, the client gets an error in its family's shape, and
// nothing of the page.
func TestSuccessWithoutAnAnswerIsAnError(t *testing.T) {
	bodies := map[string]string{"/v1/chat/completions": chatBody, "/v1/responses": `{"model":"gpt-4o","input":"hi"}`}
	for name, it := range noAnswers {
		for path, body := range bodies {
			res, text, call, err := answered(t, path, body, nil, it.answer)
			if err != nil || res.StatusCode != http.StatusBadGateway || !strings.Contains(text, `"code":"upstream_error"`) || call.Outcome != OutcomeExhausted {
				t.Errorf("%s, %s: got %d %q, %s, %v", name, path, res.StatusCode, text, call.Outcome, err)
			}
		}
	}
}

// What may be empty, or a text of any kind, passes as it is.
func TestWhatMayBeEmptyPasses(t *testing.T) {
	const form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n"
	for name, it := range map[string]struct {
		method, path, media, body string
		answer                    func(http.ResponseWriter)
		status                    int
		want                      string
	}{
		"deleted":             {"DELETE", "/v1/files/file-1", "", "", func(http.ResponseWriter) {}, 200, ""},
		"head":                {"HEAD", "/v1/models", "", "", func(http.ResponseWriter) {}, 200, ""},
		"a file that is HTML": {"GET", "/v1/files/file-1/content", "", "", pageOf("text/html", loginPage), 200, loginPage},
		"no content":          {"DELETE", "/v1/files/file-1", "", "", func(w http.ResponseWriter) { w.WriteHeader(204) }, 204, ""},
		"silence transcribed": {"POST", "/v1/audio/transcriptions", "multipart/form-data; boundary=b", form, pageOf("text/plain", ""), 200, ""},
		"speech of nothing":   {"POST", "/v1/audio/speech", "application/json", `{"model":"tts-1","input":""}`, pageOf("audio/mpeg", ""), 200, ""},
		"JSON called a page":  {"POST", "/v1/chat/completions", "application/json", chatBody, pageOf("text/html", chatAnswer), 200, chatAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { it.answer(w) })
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
			res, _ := request(t, context.Background(), tr, it.method, it.path, http.Header{"Content-Type": {it.media}}, it.body)
			text, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != it.status || string(text) != it.want {
				t.Errorf("got %d %q, %v", res.StatusCode, text, err)
			}
		})
	}
}
