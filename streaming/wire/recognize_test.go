// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func parseURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}

	return u
}

func recognize(t testing.TB, method, path string) *wire.Request {
	t.Helper()
	r, err := wire.Recognize(method, parseURL(t, path), http.Header{})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}

	return r
}

func TestPathTellsWhatIsAskedFor(t *testing.T) {
	anthropicVersion := http.Header{"Anthropic-Version": {"2023-06-01"}}
	googleKey := http.Header{"X-Goog-Api-Key": {"k"}}
	for _, test := range []struct {
		method, path string
		header       http.Header
		operation    string
		model        string
		stream       bool
	}{
		{"POST", "/v1/chat/completions", nil, "openai.chat", "", false},
		{"POST", "/v1/chat/completions", anthropicVersion, "openai.chat", "", false},
		{"GET", "/v1/chat/completions", nil, "openai.other", "", false},
		{"POST", "/v1/completions", nil, "openai.completions", "", false},
		{"POST", "/v1/responses", nil, "openai.responses", "", false},
		{"POST", "/v1/prompts/p1/completions", nil, "openai.prompt", "", false},
		{"GET", "/v1/prompts/p1/completions", nil, "openai.other", "", false},
		{"GET", "/v1/responses/resp_1", nil, "openai.response", "", false},
		{"DELETE", "/v1/responses/resp_1", nil, "openai.other", "", false},
		{"GET", "/v1/responses/resp_1/input_items", nil, "openai.other", "", false},
		{"GET", "/v1/batches/batch_1", nil, "openai.batch", "", false},
		{"GET", "/v1/batches", nil, "openai.other", "", false},
		{"POST", "/v1/rerank", nil, "openai.rerank", "", false},
		{"POST", "/v1/embeddings", nil, "openai.embeddings", "", false},
		{"POST", "/v1/images/edits", nil, "openai.images", "", false},
		{"POST", "/v1/images/generations", nil, "openai.images", "", false},
		{"POST", "/v1/images/variations", nil, "openai.images", "", false},
		{"POST", "/v1/moderations", nil, "openai.moderations", "", false},
		{"POST", "/v1/responses/compact", nil, "openai.compact", "", false},
		{"POST", "/v1/responses/input_tokens", nil, "openai.input_tokens", "", false},
		{"GET", "/v1/responses/resp_1?stream=true", nil, "openai.response", "", true},
		{"GET", "/v1/responses/resp_1?stream=false", nil, "openai.response", "", false},
		{"POST", "/v1/audio/translations", nil, "openai.translations", "", false},
		{"POST", "/v1/audio/speech", nil, "openai.speech", "", false},
		{"POST", "/v1/ocr", nil, "openai.ocr", "", false},
		{"POST", "/v1/fim/completions", nil, "openai.completions", "", false},
		{"POST", "/v1/agents/completions", nil, "openai.chat", "", false},
		{"GET", "/v1/files/f1/content", nil, "openai.other", "", false},
		{"POST", "/v1/audio/transcriptions", nil, "openai.transcriptions", "", false},
		{"POST", "/v1/batches", nil, "openai.other", "", false},
		{"GET", "/v1/models", nil, "openai.other", "", false},
		{"GET", "/v1/models", anthropicVersion, "anthropic.other", "", false},
		{"GET", "/v1/models", googleKey, "gemini.other", "", false},
		{"GET", "/v1/models/ft:gpt-4o:org::1", nil, "openai.other", "ft:gpt-4o:org::1", false},
		{"GET", "/v1/models/org%2Fname", nil, "openai.other", "org/name", false},
		{"GET", "/v1/models/org/name", nil, "openai.other", "org/name", false},
		{"GET", "/v1/models/org/name/endpoints", nil, "openai.other", "", false},
		{"DELETE", "/v1/models/ft:gpt-4o:org::1", nil, "openai.other", "", false},
		{"GET", "/v1/models/claude", anthropicVersion, "anthropic.other", "claude", false},
		{"GET", "/v1/models/claude/more", anthropicVersion, "anthropic.other", "", false},
		{"GET", "/v1beta/models/gemini-2.5-pro", nil, "gemini.other", "gemini-2.5-pro", false},
		{"GET", "/v1beta/models/veo-3/operations/op1", nil, "gemini.other", "", false},
		{"POST", "/v1beta/openai/chat/completions", nil, "openai.chat", "", false},
		{"POST", "/v1/messages", nil, "anthropic.messages", "", false},
		{"POST", "/v1/messages/count_tokens", nil, "anthropic.count_tokens", "", false},
		{"POST", "/v1/messages/batches", nil, "anthropic.other", "", false},
		{"GET", "/v1/messages/batches/b1/results", nil, "anthropic.other", "", false},
		{"GET", "/v1/files/f1", anthropicVersion, "anthropic.other", "", false},
		{"POST", "/v1/complete", nil, "anthropic.complete", "", false},
		{"POST", "/v1beta/models/gemini-2.5-pro:generateContent", nil, "gemini.generate", "gemini-2.5-pro", false},
		{"POST", "/v1/models/gemini-2.5-pro:generateContent", nil, "gemini.generate", "gemini-2.5-pro", false},
		{"POST", "/v1alpha/models/gemini-2.5-pro:streamGenerateContent?alt=sse", nil, "gemini.stream", "gemini-2.5-pro", true},
		{"POST", "/v1beta/models/gemini%3A1:countTokens", nil, "gemini.count_tokens", "gemini:1", false},
		{"POST", "/v1beta/models/org%2Fname:embedContent", nil, "gemini.embed", "org/name", false},
		{"POST", "/v1beta/tunedModels/mine:generateContent", nil, "gemini.generate", "tunedModels/mine", false},
		{"POST", "/v1beta/cachedContents", nil, "gemini.other", "", false},
		{"POST", "/v1beta/batches/b1:cancel", nil, "gemini.other", "", false},
		{"POST", "/upload/v1beta/files", nil, "gemini.other", "", false},
		{"POST", "/v1beta/interactions", nil, "gemini.interactions", "", false},
		{"GET", "/v1beta/interactions/i1", nil, "gemini.other", "", false},

		{"POST", "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21", nil, "azure:openai.chat", "my gpt", false},
		{"POST", "/openai/deployments/d1/images/generations?api-version=2024-10-21", nil, "azure:openai.images", "d1", false},
		{"POST", "/openai/v1/responses", nil, "azure:openai.responses", "", false},
		{"POST", "/openai/v1/chat/completions", nil, "azure:openai.chat", "", false},
		{"POST", "/openai/deployments/d1/completions?api-version=2024-10-21", nil, "azure:openai.completions", "d1", false},
		{"POST", "/openai/deployments/d1/embeddings?api-version=2024-10-21", nil, "azure:openai.embeddings", "d1", false},
		{"POST", "/openai/deployments/d1/audio/transcriptions?api-version=2024-10-21", nil, "azure:openai.transcriptions", "d1", false},
		{"POST", "/openai/deployments/d1/audio/speech?api-version=2024-10-21", nil, "azure:openai.speech", "d1", false},
		{"POST", "/models/embeddings?api-version=2024-05-01-preview", nil, "azure:openai.embeddings", "", false},
		{"POST", "/openai/responses?api-version=preview", nil, "azure:openai.responses", "", false},
		{"POST", "/models/chat/completions?api-version=2024-05-01-preview", nil, "azure:openai.chat", "", false},
		{"GET", "/openai/models?api-version=2024-10-21", nil, "azure:openai.other", "", false},

		{"POST", "/model/anthropic.claude-v2%3A1/invoke", nil, "bedrock.invoke", "anthropic.claude-v2:1", false},
		{"POST", "/model/arn%3Aaws%3Abedrock%3A%3A1%3Aprofile%2Fx/converse-stream", nil, "bedrock.converse_stream", "arn:aws:bedrock::1:profile/x", true},
		{"POST", "/model/amazon.nova-micro-v1:0/invoke-with-response-stream", nil, "bedrock.invoke_stream", "amazon.nova-micro-v1:0", true},
		{"POST", "/model/m/count-tokens", nil, "bedrock.count_tokens", "m", false},
		{"POST", "/guardrail/g/version/1/apply", nil, "bedrock.other", "", false},

		{"POST", "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent", googleKey, "vertex:gemini.generate", "gemini-2.5-pro", false},
		{"POST", "/v1beta1/publishers/google/models/gemini-2.5-pro:streamGenerateContent", nil, "vertex:gemini.stream", "gemini-2.5-pro", true},
		{"POST", "/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict", nil, "vertex.messages", "claude@1", true},
		{"POST", "/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict", nil, "vertex.chat", "m", false},
		{"POST", "/v1/projects/p/locations/l/publishers/nobody/models/m:rawPredict", nil, "vertex.other", "", false},
		{"POST", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", nil, "vertex.chat", "", false},
		{"POST", "/v1/projects/p/locations/l/endpoints/123:predict", nil, "vertex:gemini.predict", "123", false},
		{"GET", "/v1/projects/p/locations/l/cachedContents", nil, "vertex.other", "", false},

		{"GET", "/v1/realtime?model=m", nil, "openai.realtime", "m", true},
		{"GET", "/v1/realtime?intent=transcription", nil, "openai.realtime", "", true},
		{"GET", "/v1/realtime/translations?model=m", nil, "openai.realtime", "m", true},
		{"GET", "/v1/responses", nil, "openai.responses_session", "", true},
		{"POST", "/v1/realtime/client_secrets", nil, "openai.other", "", false},
		{"GET", "/openai/realtime?api-version=1&deployment=m%2B1", nil, "azure:openai.realtime", "m+1", true},
		{"GET", "/openai/v1/realtime?model=m", nil, "azure:openai.realtime", "m", true},
		{"GET", "/voice-live/realtime?api-version=1&model=m", nil, "azure:openai.realtime", "m", true},
		{"GET", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", nil, "gemini.live", "", true},
		{"GET", "http://g//ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=k", nil, "gemini.live", "", true},
		{"GET", "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent", nil, "vertex:gemini.live", "", true},
		{"POST", "/v2/chat", nil, "cohere.chat", "", false},
		{"POST", "/v2/embed", nil, "cohere.embed", "", false},
		{"POST", "/v2/rerank", nil, "cohere.rerank", "", false},
		{"POST", "/v1/generate", nil, "cohere.generate", "", false},
		{"POST", "/v1/chat", nil, "cohere.chat", "", false},
		{"POST", "/api/chat", nil, "ollama.chat", "", true},
		{"POST", "/api/generate", nil, "ollama.generate", "", true},
		{"POST", "/api/embed", nil, "ollama.embed", "", false},
		{"POST", "/completion", nil, "llama.completion", "", false},
		{"POST", "/infill", nil, "llama.completion", "", false},
		{"GET", "/api/tags", nil, "ollama.other", "", false},
		{"POST", "/api/v1/services/aigc/text-generation/generation", http.Header{"X-Dashscope-Sse": {"enable"}}, "dashscope.generation", "", true},
		{"POST", "/api/v1/services/aigc/multimodal-generation/generation", nil, "dashscope.generation", "", false},
		{"POST", "/api/v1/services/embeddings/text-embedding/text-embedding", nil, "dashscope.embedding", "", false},
		{"GET", "/api/v1/tasks/t1", nil, "dashscope.other", "", false},
		{"POST", "/generate_stream", nil, "tgi.generate", "", true},
		{"POST", "/", nil, "tgi.generate", "", false},
	} {
		header := test.header
		if header == nil {
			header = http.Header{}
		}
		r, err := wire.Recognize(test.method, parseURL(t, test.path), header)
		if err != nil {
			t.Errorf("%s %s: %v", test.method, test.path, err)
			continue
		}
		// An operation's name begins with its family's, unless that is said
		// in front of it.
		family, operation, apart := strings.Cut(test.operation, ":")
		if !apart {
			family, _, _ = strings.Cut(test.operation, ".")
			operation = test.operation
		}
		if r.Family.Name != family || r.Operation.Name != operation || r.Model != test.model || r.Stream != test.stream {
			t.Errorf("%s %s: got %s %s model %q stream %v", test.method, test.path, r.Family.Name, r.Operation.Name, r.Model, r.Stream)
		}
	}
}

func TestPathThatCouldBeMisreadIsUnknown(t *testing.T) {
	for _, path := range []string{
		"/v1", "/v1/", "/v1beta", "/v1beta/openai", "/metrics", "/v3/chat", "/api/pull", "/api/v1/chat", "/openai", "/model/m", "/model/m/other", "/models", "/projects/p", "/v1x/models", "/upload/v1beta",
		"/v1//chat", "/v1/chat/completions/", "/v1/./models", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/.%2E/admin",
		"/v1/a%2f..%2fb", "/v1/a%2F%2Fb", "/v1/a%5Cb", "/v1/a\\b", "/v1/a%00", "/v1/a%0d%0ab", "/v1/%252e%252e/a",
		"/v1/..;/a", "/v1/a%ff", "/v1beta/models/..%2f..%2fx:generateContent", "/v1/" + strings.Repeat("a", 2<<10),
	} {
		u := &url.URL{Path: path}
		if parsed, err := url.Parse(path); err == nil {
			u = parsed
		}
		if r, err := wire.Recognize("POST", u, http.Header{}); !errors.Is(err, wire.ErrUnknownPath) {
			t.Errorf("%q: got %v, %v", path, r, err)
		}
	}
}

func TestFamiliesAreKnownByName(t *testing.T) {
	if got := strings.Join(wire.Names(), " "); got != "openai anthropic gemini azure bedrock vertex cohere ollama dashscope llama tgi" {
		t.Errorf("families %s", got)
	}
	for _, name := range wire.Names() {
		if f, ok := wire.Lookup(name); !ok || f.Name != name {
			t.Errorf("%s: got %+v", name, f)
		}
	}
	if _, ok := wire.Lookup("nobody"); ok {
		t.Error("found a family that does not exist")
	}
}
