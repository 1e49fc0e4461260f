// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// prefilled spells a conversation that ends with the assistant's text.
func prefilled(f *family, model, text string) string {
	user := object{"role": "user", "content": "Count up to sixty."}
	parts := object{"role": "assistant", "content": []object{{"type": "output_text", "text": text}}}
	switch f {
	case gemini:
		return encode(object{"contents": []object{
			{"role": "user", "parts": []object{{"text": "Count up to sixty."}}},
			{"role": "model", "parts": []object{{"text": text}}},
		}})
	case responses:
		return encode(object{"model": model, "stream": true, "input": []object{user, parts}})
	default:
		return encode(object{"model": model, "stream": true, "messages": []object{user, parts}})
	}
}

func TestProviderContinuesAPrefill(t *testing.T) {
	p := &provider{pace: 1000, records: map[string][]*record{}, begun: map[string]time.Time{}}
	for _, f := range families {
		for _, held := range []string{wholeText[:40], strings.Join(pieces[:cutAt], ""), wholeText, "something else"} {
			model := modelName(16, f, fallback)
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, f.path(model), strings.NewReader(prefilled(f, model, held))))
			v := newView(model)
			v.Status = w.Code
			v.end(readEvents(w.Body, func(e event) { v.take(f, e) }), false)
			want := wholeText
			if strings.HasPrefix(wholeText, held) {
				want = wholeText[len(held):]
			}
			if v.Text != want || v.Ending != ended {
				t.Errorf("%s: after %d bytes it goes on with %q, %s", f.name, len(held), v.Text, v.Ending)
			}
			asked := p.asked(model)
			if last := asked[len(asked)-1]; last.Prefill != held || !last.whole {
				t.Errorf("%s: the record is %+v", f.name, last)
			}
		}
		model := modelName(14, f, fallback)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, f.path(model), strings.NewReader(prefilled(f, model, "w00"))))
		if text, _ := io.ReadAll(w.Body); w.Code != http.StatusBadRequest || !strings.Contains(string(text), prefillMark) {
			t.Errorf("%s: the model that takes no prefill answers %d %s", f.name, w.Code, text)
		}
	}
}

func TestProviderAnswersOnlyWhatTheExamAsks(t *testing.T) {
	p := &provider{pace: 1000, records: map[string][]*record{}, begun: map[string]time.Time{}}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/v1/chat/completions", `{"model":"gpt-4o","stream":true}`, http.StatusNotFound},
		{"/v1/chat/completions", `{"model":"s01-chat-primary"}`, http.StatusBadRequest},
		{"/v1/chat/completions", `{"model":`, http.StatusNotFound},
		{"/v1/chat/completions", strings.Repeat("x", maxRequest+1), http.StatusNotFound},
		{"/v1/embeddings", `{"model":"s01-chat-primary"}`, http.StatusNotFound},
		{"/v1beta/models/s16-gemini-fallback:generateContent", `{}`, http.StatusBadRequest},
	} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body)))
		if w.Code != c.status {
			t.Errorf("%s %.40s: status %d, want %d", c.path, c.body, w.Code, c.status)
		}
	}
	if len(p.records) > 0 {
		t.Errorf("requests that are none were counted: %v", p.records)
	}
}
