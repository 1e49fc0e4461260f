// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// recordedCall is how a client of the gateway makes a call that was recorded,
// and how the gateway is told where its provider is.
type recordedCall struct {
	recordings.Recording
	// family is the provider's API family, and base the path of its base URL.
	family, base string
	// path is the path of the client's request, and query what follows it.
	path, query string
	// unread says that the answer passes without being looked into, and
	// generates that it is made token by token.
	unread, generates bool

	body        []byte
	contentType string
}

// callOf finds out how to make a recorded call from its API and its path: no
// recording is known by name.
func callOf(r recordings.Recording) (recordedCall, error) {
	c := recordedCall{Recording: r}
	_, query, _ := strings.Cut(r.Request.URL, "?")
	path, _, _ := strings.Cut(r.Request.Path, "?")
	if slash := strings.IndexByte(path, '/'); slash >= 0 {
		path = path[slash:]
	}
	if c.divide(path) {
		c.query = query
	} else if usual, ok := c.usualPath(); ok {
		path, c.query, _ = strings.Cut(usual, "?")
		if !c.divide(path) {
			return c, fmt.Errorf("nobody knows the path %s", path)
		}
	} else {
		return c, fmt.Errorf("nobody knows how the API %s is called, nor the path %s", r.Want.API, path)
	}
	return c, c.writeBody()
}

// version is where a version ends in a path.
var version = regexp.MustCompile(`^(.*?/v\d[^/]*)(/.*)$`)

// divide finds out where a recorded path goes on behind the provider's base
// URL, and so which family it is of.
func (c *recordedCall) divide(path string) bool {
	own, _, _ := strings.Cut(c.Want.API, ".")
	for _, claims := range []func(*wire.Request) bool{
		func(r *wire.Request) bool { return r.Family.Name == own && own != "openai" },
		func(r *wire.Request) bool { return r.Family.Name == "openai" && r.Operation.Dialect != nil },
		func(r *wire.Request) bool { return r.Family.Name != "openai" && r.Operation.Dialect != nil },
	} {
		for i := range path {
			// Where OpenAI's format is spoken, the base includes the version.
			for _, candidate := range []string{path[i:], "/v1" + path[i:]} {
				if r, ok := c.recognize(candidate); path[i] == '/' && ok && claims(r) && (candidate == path[i:]) == (r.Family.Name != "openai") {
					c.family, c.base, c.path = r.Family.Name, cmp.Or(path[:i], "/."), candidate
					c.unread, c.generates = r.Operation.Dialect == nil, r.Generates()
					return true
				}
			}
		}
	}
	if parts := version.FindStringSubmatch(path); parts != nil {
		if r, ok := c.recognize("/v1" + parts[2]); ok && r.Family.Name == "openai" {
			c.family, c.base, c.path, c.unread = "openai", parts[1], "/v1"+parts[2], true
			return true
		}
	}
	return false
}

func (c *recordedCall) recognize(path string) (*wire.Request, bool) {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, false
	}
	r, err := wire.Recognize(cmp.Or(c.Request.Method, "POST"), u, c.Request.Header)
	return r, err == nil
}

// usualPath returns the path under which an API is usually called, for
// recordings that have lost theirs.
func (c *recordedCall) usualPath() (string, bool) {
	provider, rest, _ := strings.Cut(c.Want.API, ".")
	path, ok := usualPaths[c.Want.API]
	if _, known := wire.Lookup(provider); !ok && (!known || provider == "openai") {
		path, ok = usualPaths["openai."+rest]
	}
	switch {
	case c.Want.API == "tgi.generate" && c.Want.Stream:
		path = "/generate_stream"
	case c.Want.Format == "json-array":
		path = strings.TrimSuffix(path, "?alt=sse")
	}
	return strings.ReplaceAll(path, "{model}", url.PathEscape(c.model())), ok
}

// usualPaths are the paths of APIs, by their names in recordings.
var usualPaths = map[string]string{
	"openai.chat":                 "/v1/chat/completions",
	"openai.completions":          "/v1/completions",
	"openai.responses":            "/v1/responses",
	"openai.embeddings":           "/v1/embeddings",
	"openai.moderations":          "/v1/moderations",
	"openai.rerank":               "/v1/rerank",
	"openai.images":               "/v1/images/generations",
	"openai.audio.transcriptions": "/v1/audio/transcriptions",
	"openai.audio.translations":   "/v1/audio/translations",
	"openai.audio.speech":         "/v1/audio/speech",
	"openai.messages":             "/v1/messages",
	"azure.chat":                  "/openai/v1/chat/completions",
	"azure.completions":           "/openai/v1/completions",
	"azure.responses":             "/openai/v1/responses",
	"azure.embeddings":            "/openai/v1/embeddings",
	"anthropic.messages":          "/v1/messages",
	"anthropic.count_tokens":      "/v1/messages/count_tokens",
	"anthropic.batches":           "/v1/messages/batches",
	"anthropic.complete":          "/v1/complete",
	"gemini.generate":             "/v1beta/models/{model}:generateContent",
	"gemini.stream":               "/v1beta/models/{model}:streamGenerateContent?alt=sse",
	"gemini.countTokens":          "/v1beta/models/{model}:countTokens",
	"gemini.embed":                "/v1beta/models/{model}:embedContent",
	"gemini.predict":              "/v1beta/models/{model}:predict",
	"gemini.interactions":         "/v1beta/interactions",
	"gemini.openai_chat":          "/v1beta/openai/chat/completions",
	"vertex.generate":             "/v1/projects/p/locations/l/publishers/google/models/{model}:generateContent",
	"vertex.stream":               "/v1/projects/p/locations/l/publishers/google/models/{model}:streamGenerateContent?alt=sse",
	"vertex.countTokens":          "/v1/projects/p/locations/l/publishers/google/models/{model}:countTokens",
	"vertex.embed":                "/v1/projects/p/locations/l/publishers/google/models/{model}:embedContent",
	"vertex.predict":              "/v1/projects/p/locations/l/publishers/google/models/{model}:predict",
	"vertex.rawPredict":           "/v1/projects/p/locations/l/publishers/anthropic/models/{model}:rawPredict",
	"vertex.streamRawPredict":     "/v1/projects/p/locations/l/publishers/anthropic/models/{model}:streamRawPredict",
	"vertex.openai_chat":          "/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
	"bedrock.converse":            "/model/{model}/converse",
	"bedrock.converse-stream":     "/model/{model}/converse-stream",
	"bedrock.invoke":              "/model/{model}/invoke",
	"bedrock.invoke-stream":       "/model/{model}/invoke-with-response-stream",
	"bedrock.count-tokens":        "/model/{model}/count-tokens",
	"cohere.v1.chat":              "/v1/chat",
	"cohere.v1.generate":          "/v1/generate",
	"cohere.v2.chat":              "/v2/chat",
	"cohere.embed":                "/v2/embed",
	"cohere.rerank":               "/v2/rerank",
	"cohere.compat_chat":          "/compatibility/v1/chat/completions",
	"ollama.chat":                 "/api/chat",
	"ollama.generate":             "/api/generate",
	"ollama.embed":                "/api/embed",
	"tgi.generate":                "/generate",
	"dashscope.generation":        "/api/v1/services/aigc/text-generation/generation",
}

// model is what is asked for where the recording has lost it.
func (c *recordedCall) model() string {
	return cmp.Or(c.Want.PathModel, c.Want.RequestModel, c.Want.Model, "some-model")
}

// writeBody takes the recorded body, or makes up one that asks for the same.
func (c *recordedCall) writeBody() error {
	c.contentType = c.Request.Header.Get("Content-Type")
	isForm := strings.HasPrefix(c.contentType, "multipart/")
	isJSON := c.contentType == "" || strings.Contains(c.contentType, "json")
	recorded := len(c.Request.Body) > 0 && string(c.Request.Body) != "null"
	switch {
	case c.Request.Method == http.MethodGet || c.Request.Method == http.MethodDelete:
		c.contentType = ""
	case recorded:
		c.body, c.contentType = c.Request.Body, "application/json"
	case c.Request.Text != "" && !c.Request.Truncated || !isForm && !isJSON:
		c.body = []byte(c.Request.Text)
	case isForm:
		return c.writeForm()
	default:
		ask := map[string]any{"model": c.model(), "messages": []any{map[string]any{"role": "user", "content": "Hello"}}}
		if c.family == "gemini" || c.family == "vertex" || c.family == "bedrock" {
			ask = map[string]any{"contents": []any{map[string]any{"parts": []any{map[string]any{"text": "Hello"}}}}}
		}
		if c.Want.Stream {
			ask["stream"] = true
		}
		c.contentType = "application/json"
		var err error
		c.body, err = json.Marshal(ask)
		return err
	}
	return nil
}

func (c *recordedCall) writeForm() error {
	var text bytes.Buffer
	form := multipart.NewWriter(&text)
	fields := map[string]string{"model": c.model()}
	if c.Want.Stream {
		fields["stream"] = "true"
	}
	for name, value := range fields {
		if err := form.WriteField(name, value); err != nil {
			return err
		}
	}
	file, err := form.CreateFormFile("file", "speech.wav")
	if err == nil {
		_, err = file.Write([]byte("RIFF"))
	}
	c.body, c.contentType = text.Bytes(), form.FormDataContentType()
	if err != nil {
		return err
	}
	if err := form.Close(); err != nil {
		return err
	}
	c.body = text.Bytes()
	return nil
}
