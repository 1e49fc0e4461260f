// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func TestPathsOfOtherFamiliesAreJoinedToTheBase(t *testing.T) {
	for _, test := range []struct{ base, in, model, want string }{
		{"https://r.openai.azure.com", "/openai/deployments/a/chat/completions?api-version=1", "", "https://r.openai.azure.com/openai/deployments/a/chat/completions?api-version=1"},
		{"https://r.openai.azure.com/openai/", "/openai/deployments/a/chat/completions", "b c", "https://r.openai.azure.com/openai/deployments/b%20c/chat/completions"},
		{"https://r.openai.azure.com/openai/v1", "/openai/v1/responses", "", "https://r.openai.azure.com/openai/v1/responses"},
		{"https://r.openai.azure.com/openai/v1", "/openai/deployments/a/images/edits", "b", "https://r.openai.azure.com/openai/deployments/b/images/edits"},
		{"https://r.services.ai.azure.com/models", "/models/chat/completions?api-version=1", "", "https://r.services.ai.azure.com/models/chat/completions?api-version=1"},
		{"https://gateway/azure", "/openai/models", "", "https://gateway/azure/openai/models"},

		{"https://bedrock-runtime.us-east-1.amazonaws.com", "/model/a%3A1/converse", "", "https://bedrock-runtime.us-east-1.amazonaws.com/model/a%3A1/converse"},
		{"https://bedrock-runtime.us-east-1.amazonaws.com", "/model/a/invoke", "arn:aws:x/y", "https://bedrock-runtime.us-east-1.amazonaws.com/model/arn%3Aaws%3Ax%2Fy/invoke"},

		{"https://aiplatform.googleapis.com", "/v1/projects/p/locations/l/publishers/google/models/a:generateContent", "", "https://aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/a:generateContent"},
		{"https://l-aiplatform.googleapis.com/v1beta1/projects/q/locations/m", "/v1/publishers/google/models/a:generateContent", "b", "https://l-aiplatform.googleapis.com/v1beta1/projects/q/locations/m/publishers/google/models/b:generateContent"},
		{"https://l-aiplatform.googleapis.com/v1/projects/q/locations/m", "/v1/projects/p/locations/l/publishers/anthropic/models/a:rawPredict", "b@1", "https://l-aiplatform.googleapis.com/v1/projects/q/locations/m/publishers/anthropic/models/b@1:rawPredict"},
		{"https://aiplatform.googleapis.com/v1", "/v1beta1/projects/p/locations/l/endpoints/openapi/chat/completions", "", "https://aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi/chat/completions"},

		{"https://api.cohere.com", "/v2/chat", "", "https://api.cohere.com/v2/chat"},
		{"https://api.cohere.com/v2", "/v2/rerank", "", "https://api.cohere.com/v2/rerank"},
		{"http://localhost:11434", "/api/chat", "", "http://localhost:11434/api/chat"},
		{"https://dashscope.aliyuncs.com/api/v1", "/api/v1/services/aigc/text-generation/generation", "", "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation"},
		{"https://dashscope.aliyuncs.com", "/api/v1/tasks/t", "", "https://dashscope.aliyuncs.com/api/v1/tasks/t"},
		{"http://tgi:8080", "/generate_stream", "", "http://tgi:8080/generate_stream"},
		{"http://tgi:8080", "/", "", "http://tgi:8080/"},
	} {
		r := recognize(t, "POST", test.in)
		model := test.model
		if model == "" {
			model = r.Model
		}
		if got := r.URL(parseURL(t, test.base), parseURL(t, test.in), model).String(); got != test.want {
			t.Errorf("%s at %s:\n got %s\nwant %s", test.in, test.base, got, test.want)
		}
	}
}

// Providers that speak OpenAI's format differ in where they are, and in
// nothing that a base URL does not say.
func TestCompatibleProvidersAreReachedByTheirBase(t *testing.T) {
	for _, base := range []string{
		"https://api.mistral.ai/v1", "https://api.deepseek.com", "https://api.deepseek.com/beta", "https://api.groq.com/openai/v1", "https://api.x.ai/v1",
		"https://openrouter.ai/api/v1", "https://api.perplexity.ai/.", "https://api.together.xyz/v1", "https://api.fireworks.ai/inference/v1",
		"https://api.cerebras.ai/v1", "https://api.moonshot.ai/v1", "https://open.bigmodel.cn/api/paas/v4",
		"https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "http://vllm:8000/v1", "http://llamacpp:8080/v1", "http://tgi:3000/v1",
		"http://localhost:1234/v1", "https://api.cohere.com/compatibility/v1", "https://r.openai.azure.com/openai/v1",
		"https://bedrock-mantle.us-east-1.api.aws/v1", "https://router.huggingface.co/v1",
	} {
		in := parseURL(t, "/v1/chat/completions")
		u := parseURL(t, base)
		want := base + "/chat/completions"
		switch u.Path {
		case "":
			want = base + "/v1/chat/completions"
		case "/.":
			want = strings.TrimSuffix(base, ".") + "chat/completions"
		}
		if got := recognize(t, "POST", "/v1/chat/completions").URL(u, in, "").String(); got != want {
			t.Errorf("%s: got %s", base, got)
		}
	}
}

func TestOtherFamiliesPlaceTheirCredentials(t *testing.T) {
	for _, test := range []struct{ family, secret, name, value string }{
		{"azure", "0123456789abcdef", "Api-Key", "0123456789abcdef"},
		{"azure", "eyJ0.eyJh.c2ln", "Authorization", "Bearer eyJ0.eyJh.c2ln"},
		{"bedrock", "ABSKabc", "Authorization", "Bearer ABSKabc"},
		{"bedrock", "AKIAIOSFODNN7EXAMPLE:secret", "Authorization", ""},
		{"vertex", "ya29.1", "Authorization", "Bearer ya29.1"},
		{"vertex", "AIza1", "X-Goog-Api-Key", "AIza1"},
		{"cohere", "k", "Authorization", "Bearer k"},
		{"ollama", "k", "Authorization", "Bearer k"},
	} {
		family, _ := wire.Lookup(test.family)
		h := http.Header{}
		family.Authorize(h, test.secret)
		if got := h.Get(test.name); got != test.value || family.NeedsSignature(test.secret) != (len(h) == 0) {
			t.Errorf("%s: %s is %q in %v", test.family, test.name, got, h)
		}
	}
}

func TestOtherFamiliesErrorsHaveTheirShape(t *testing.T) {
	e := wire.Error{Status: 429, Code: "rate_limit_exceeded", Message: "wait", RequestID: "r1"}
	for name, want := range map[string]string{
		"azure":     `{"error":{"message":"wait","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"},"request_id":"r1"}`,
		"bedrock":   `{"__type":"ThrottlingException","message":"wait","reason":"rate_limit_exceeded","requestId":"r1"}`,
		"cohere":    `{"id":"r1","message":"wait","code":"rate_limit_exceeded"}`,
		"ollama":    `{"error":"wait","code":"rate_limit_exceeded","request_id":"r1"}`,
		"dashscope": `{"code":"rate_limit_exceeded","message":"wait","request_id":"r1"}`,
		"tgi":       `{"error":"wait","error_type":"rate_limit_exceeded","request_id":"r1"}`,
	} {
		family, _ := wire.Lookup(name)
		if got := string(family.ErrorBody(e)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestOllamaStreamsUnlessToldNotTo(t *testing.T) {
	for body, want := range map[string]bool{
		`{"model":"m"}`: true, `{"model":"m","stream":true}`: true, `{"model":"m","stream":null}`: true, `{"model":"m","stream":false}`: false,
	} {
		r := recognize(t, "POST", "/api/chat")
		if err := r.ReadBody(jsonType, []byte(body)); err != nil || r.Stream != want {
			t.Errorf("%s: stream %t, %v", body, r.Stream, err)
		}
	}
}

func TestSessionsHaveNoVersionInTheirPath(t *testing.T) {
	const live = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
	const vertexLive = "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent"
	if got := recognize(t, "GET", "http://g/"+live).URL(parseURL(t, "https://g"), parseURL(t, live), "").String(); got != "https://g"+live {
		t.Errorf("with a slash too many: got %s", got)
	}
	for _, test := range []struct{ base, path string }{
		{"https://g", live},
		{"https://g/v1beta", live},
		{"https://g", vertexLive},
		{"https://g/v1/projects/p/locations/l", vertexLive},
	} {
		if got := recognize(t, "GET", test.path).URL(parseURL(t, test.base), parseURL(t, test.path), "").String(); got != "https://g"+test.path {
			t.Errorf("%s: got %s", test.base, got)
		}
	}
}

// The model that a handshake's query names is exchanged, and nothing else.
func TestModelInTheQueryIsExchanged(t *testing.T) {
	for _, test := range []struct{ base, in, model, want string }{
		{"https://api.openai.com/v1", "/v1/realtime?model=m", "m", "https://api.openai.com/v1/realtime?model=m"},
		{"https://api.openai.com/v1", "/v1/realtime?a=%2f&model=m&b", "gpt realtime", "https://api.openai.com/v1/realtime?a=%2f&model=gpt+realtime&b"},
		{"https://api.openai.com/v1", "/v1/realtime?%6Dodel=m&model=m&api-key=s", "n", "https://api.openai.com/v1/realtime?%6Dodel=n&model=n"},
		{"https://api.x.ai/v1", "/v1/realtime", "n", "https://api.x.ai/v1/realtime"},
		{"https://r.openai.azure.com", "/openai/realtime?api-version=1&deployment=m", "n", "https://r.openai.azure.com/openai/realtime?api-version=1&deployment=n"},
	} {
		r := recognize(t, "GET", test.in)
		if err := r.ReadBody("", nil); err != nil {
			t.Errorf("%s: %v", test.in, err)
		}
		if got := r.URL(parseURL(t, test.base), parseURL(t, test.in), test.model).String(); got != test.want {
			t.Errorf("%s: got %s, want %s", test.in, got, test.want)
		}
	}
}

// A query that two readers could take for different models is refused.
func TestModelInTheQueryIsUnambiguous(t *testing.T) {
	for _, path := range []string{
		"/v1/realtime?model=a&model=b", "/v1/realtime?model=a&%6dodel=b", "/v1/realtime?model=a&Model=b", "/v1/realtime?model=",
		"/v1/realtime?model=a;x", "/v1/realtime?x;model=a", "/v1/realtime?model=%zz", "/v1/realtime?model=a%00", "/v1/realtime?model=a%ff",
		"/v1/realtime?model=m" + strings.Repeat("&model=m", 8),
		"/openai/realtime?deployment=a&model=b", "/v1/realtime?model=" + strings.Repeat("m", 300),
	} {
		var bad *wire.RequestError
		r := recognize(t, "GET", path)
		if err := r.ReadBody("", nil); !errors.As(err, &bad) || bad.Status != 400 || bad.Code != "invalid_model" || r.Model != "" {
			t.Errorf("%.60s: got %q, %v", path, r.Model, err)
		}
	}
}
