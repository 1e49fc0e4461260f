// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func TestBaseURLIsJoined(t *testing.T) {
	for _, test := range []struct{ base, in, model, want string }{
		{"https://api.openai.com", "/v1/chat/completions", "", "https://api.openai.com/v1/chat/completions"},
		{"https://api.openai.com/v1", "/v1/chat/completions", "", "https://api.openai.com/v1/chat/completions"},
		{"https://openrouter.ai/api/v1/", "/v1/chat/completions", "", "https://openrouter.ai/api/v1/chat/completions"},
		{"https://api.z.ai/api/paas/v4", "/v1/chat/completions?a=1", "", "https://api.z.ai/api/paas/v4/chat/completions?a=1"},
		{"https://api.openai.com/", "/v1/chat/completions", "", "https://api.openai.com/v1/chat/completions"},
		{"https://api.perplexity.ai/.", "/v1/chat/completions", "", "https://api.perplexity.ai/chat/completions"},
		{"https://api.perplexity.ai/./", "/v1/chat/completions", "", "https://api.perplexity.ai/chat/completions"},
		{"https://api.anthropic.com/.", "/v1/messages", "", "https://api.anthropic.com/v1/messages"},
		{"https://api.anthropic.com/", "/v1/messages", "", "https://api.anthropic.com/v1/messages"},
		{"https://x/v1beta/openai", "/v1beta/openai/models", "", "https://x/v1beta/openai/models"},
		{"https://api.openai.com/v1", "/v1/models/org%2Fname", "", "https://api.openai.com/v1/models/org%2Fname"},
		{"https://api.anthropic.com", "/v1/messages?beta=true", "", "https://api.anthropic.com/v1/messages?beta=true"},
		{"https://api.anthropic.com/v1", "/v1/messages", "", "https://api.anthropic.com/v1/messages"},
		{"https://api.z.ai/api/anthropic", "/v1/messages", "", "https://api.z.ai/api/anthropic/v1/messages"},
		{"https://g", "/v1beta/models/a:generateContent", "a", "https://g/v1beta/models/a:generateContent"},
		{"https://g/v1", "/v1beta/models/a:generateContent", "a", "https://g/v1/models/a:generateContent"},
		{"https://g/p%2Fq/v1beta", "/v1/models/a:generateContent", "a", "https://g/p%2Fq/v1beta/models/a:generateContent"},
		{"https://g/v1beta", "/upload/v1beta/files", "", "https://g/upload/v1beta/files"},
		{"https://g", "/v1beta/models/a:generateContent", "b/c:d?", "https://g/v1beta/models/b%2Fc:d%3F:generateContent"},
		{"https://g", "/v1beta/models/a:countTokens", "tunedModels/t", "https://g/v1beta/tunedModels/t:countTokens"},
		{"https://g", "/v1beta/tunedModels/t:countTokens", "a", "https://g/v1beta/models/a:countTokens"},
		{"https://g", "/v1beta/models/a%3Ab:countTokens", "a:b", "https://g/v1beta/models/a%3Ab:countTokens"},
		{"https://x/v1?api-version=2", "/v1/models?b=%20&a", "", "https://x/v1/models?api-version=2&b=%20&a"},
	} {
		r := recognize(t, "POST", test.in)
		if got := r.URL(parseURL(t, test.base), parseURL(t, test.in), test.model).String(); got != test.want {
			t.Errorf("%s under %s: got %s, want %s", test.in, test.base, got, test.want)
		}
	}
}

func TestClientsKeyIsLeftOutOfTheQuery(t *testing.T) {
	for in, want := range map[string]string{
		"key=s":               "",
		"alt=sse&key=s":       "alt=sse",
		"key=s&alt=sse&key=t": "alt=sse",
		"%6Bey=s&z=%2f&a=+b":  "z=%2f&a=+b",
		"monkey=1&keys=2":     "monkey=1&keys=2",
		"a=key&&b":            "a=key&&b",
	} {
		path := "/v1beta/models/a:streamGenerateContent?" + in
		got := recognize(t, "POST", path).URL(parseURL(t, "https://g"), parseURL(t, path), "a")
		if got.RawQuery != want {
			t.Errorf("%q: got %q, want %q", in, got.RawQuery, want)
		}
	}
}

// Whatever a client asks for, what is sent on stays under the base path, also
// for a server that resolves dots or unescapes slashes before it looks.
func FuzzForwardedPathStaysUnderTheBase(f *testing.F) {
	for _, seed := range []string{
		"/v1/chat/completions", "/v1beta/models/a:generateContent?key=x", "/v1/%2e%2e/x", "/v1/models/a%2Fb", "/upload/v1beta/files?a",
		"/v1/messages/%2e.%2f", "/v1beta/models/%2e%2e:countTokens", "/v1/a;..", "/v1/a%3f%23",
	} {
		f.Add(seed, "model")
	}
	base := parseURL(f, "https://host/base/path")
	f.Fuzz(func(t *testing.T, path, model string) {
		in, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r, err := wire.Recognize("POST", in, http.Header{})
		if err != nil {
			return
		}
		for _, model := range []string{r.Model, model} {
			out := r.URL(base, in, model)
			if out.Host != "host" || out.Scheme != "https" || out.User != nil {
				t.Fatalf("%q went to %s", path, out)
			}
			escaped := out.EscapedPath()
			if !strings.HasPrefix(escaped, "/base/path/") {
				t.Fatalf("%q went to %q", path, escaped)
			}
			if model != r.Model {
				continue
			}
			plain, err := url.PathUnescape(escaped)
			if err != nil {
				t.Fatalf("%q went to %q: %v", path, escaped, err)
			}
			for segment := range strings.SplitSeq(strings.ReplaceAll(plain, "\\", "/"), "/") {
				if segment == "." || segment == ".." {
					t.Fatalf("%q went to %q", path, escaped)
				}
			}
			for pair := range strings.SplitSeq(out.RawQuery, "&") {
				if strings.HasPrefix(pair, "key=") {
					t.Fatalf("%q kept its key: %q", path, out.RawQuery)
				}
			}
		}
	})
}
