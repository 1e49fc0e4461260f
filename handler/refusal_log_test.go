// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// Whoever comes without a key is told where it belongs, as the SDK of the
// family sends it.
func TestMissingKeyNamesTheFamilysHeader(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}})
	for name, header := range map[string]string{
		"openai": "Authorization: Bearer <key>", "anthropic": "X-Api-Key: <key>", "gemini": "X-Goog-Api-Key: <key>",
		"azure": "Api-Key: <key>", "bedrock": "Authorization: Bearer <key>", "cohere": "Authorization: Bearer <key>",
		"ollama": "Authorization: Bearer <key>", "dashscope": "Authorization: Bearer <key>",
	} {
		r := request(pathOf[name], chat)
		wire.StripCredentials(r.Header)
		w, passed, _ := serve(h, r)
		if passed || w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "as in '"+header+"'") {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}

// The line about a call does not say what nobody has read.
func TestRefusedLineLeavesOutWhatIsUnknown(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}})
	h.logger = zap.New(core)
	for _, test := range []struct {
		path, body    string
		known         bool
		model, stream any
	}{
		{"/v1/chat/completions", `{"model":"m"}`, true, "m", false},
		{"/v1/chat/completions", `{"model":"m","stream":true}`, true, "m", true},
		{"/v1/chat/completions", `{"model":"m"}`, false, nil, nil},
		{"/v1/chat/completions", `{"model":`, true, nil, nil},
		{"/v1beta/models/g:streamGenerateContent", `{}`, false, "g", true},
		{"/v1beta/models/g:generateContent", `{}`, false, "g", nil},
	} {
		r := request(test.path, test.body)
		if !test.known {
			wire.StripCredentials(r.Header)
		}
		if _, _, err := serve(h, r); err != nil {
			t.Fatal(err)
		}
		lines := logs.TakeAll()
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		fields := lines[0].ContextMap()
		if fields["llm_model"] != test.model || fields["llm_stream"] != test.stream || fields["request_id"] == "" {
			t.Errorf("%+v: got %v", test, fields)
		}
	}
}
