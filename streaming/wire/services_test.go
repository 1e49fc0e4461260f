// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestServicesAreKnownByTheirAddress(t *testing.T) {
	for _, test := range []struct{ host, family, want string }{
		{"api.openai.com", "openai", "openai"},
		{"eu.api.openai.com", "openai", "openai"},
		{"API.OpenAI.com", "openai", "openai"},
		{"api.openai.com.example.com", "openai", ""},
		{"notapi.openai.com", "openai", ""},
		{"x.openai.azure.com", "azure", "azure"},
		{"x.openai.azure.com", "openai", "azure"},
		{"dashscope.aliyuncs.com", "openai", "alibaba"},
		{"dashscope.aliyuncs.com", "dashscope", "dashscope"},
		{"europe-west4-aiplatform.googleapis.com", "vertex", "vertex"},
		{"generativelanguage.googleapis.com", "openai", "gemini"},
		{"bedrock-runtime.us-east-1.amazonaws.com", "bedrock", "bedrock"},
		{"api.deepseek.com", "anthropic", "deepseek"},
		{"api.x.ai", "openai", "xai"},
		{"localhost", "openai", ""},
		{"10.0.0.1", "openai", ""},
		{"", "openai", ""},
	} {
		family, _ := Lookup(test.family)
		got := ""
		if s, ok := ServiceAt(test.host, family); ok {
			got = s.Name
		}
		if got != test.want {
			t.Errorf("%s, which speaks %s, is taken for %q, want %q", test.host, test.family, got, test.want)
		}
	}
}

// Every service has a name of its own and an address that is one, is found
// there, and stands in the documentation.
func TestServicesAreWellFormed(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range services {
		if seen[s.Name] || s.Family == nil {
			t.Errorf("%s: named twice, or without a family", s.Name)
		}
		seen[s.Name] = true
		if named, ok := ServiceNamed(s.Name); !ok || named != s {
			t.Errorf("%s is not found by its name", s.Name)
		}
		if s.Base == "" {
			continue
		}
		base, err := url.Parse(s.Base)
		if err != nil || base.Hostname() != host(s.Base) || base.Path == "" && s.Family == openai {
			t.Errorf("%s: base URL %s", s.Name, s.Base)
		}
		if found, _ := ServiceAt(base.Hostname(), s.Family); found != s && !s.Runnable() {
			t.Errorf("%s is not found at its address", s.Name)
		}
		if !strings.Contains(string(page), "`"+s.Name+"`") {
			t.Errorf("%s is not in the documentation", s.Name)
		}
	}
	for _, f := range families {
		if named, ok := ServiceNamed(f.Name); !ok || named.Family != f {
			t.Errorf("the family %s has no service of its name", f.Name)
		}
	}
}

// A base URL is warned of only where the service is sure not to be.
func TestBaseWhereAServiceIsNot(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.groq.com":                          "https://api.groq.com/openai/v1",
		"https://api.groq.com/":                         "https://api.groq.com/openai/v1",
		"https://api.groq.com/v1/":                      "https://api.groq.com/openai/v1",
		"https://api.groq.com/openai":                   "https://api.groq.com/openai/v1",
		"https://openrouter.ai/v1":                      "https://openrouter.ai/api/v1",
		"https://openrouter.ai/api":                     "https://openrouter.ai/api/v1",
		"https://api.fireworks.ai":                      "https://api.fireworks.ai/inference/v1",
		"https://dashscope.aliyuncs.com/v1":             "https://dashscope.aliyuncs.com/compatible-mode/v1",
		"https://api.deepinfra.com/v1":                  "https://api.deepinfra.com/v1/openai",
		"https://api.z.ai/v1":                           "https://api.z.ai/api/paas/v4",
		"https://api.z.ai/api/coding/paas/v4":           "",
		"https://api.novita.ai/openai":                  "",
		"https://api.groq.com/openai/v1/":               "",
		"https://api.groq.com/openai/v2":                "",
		"https://api.openai.com":                        "",
		"https://eu.api.openai.com/v1":                  "",
		"https://api.deepseek.com/.":                    "",
		"https://api.deepseek.com/beta":                 "",
		"https://api.perplexity.ai":                     "",
		"https://api.perplexity.ai/v1":                  "",
		"https://integrate.api.nvidia.com/v1/somewhere": "",
	} {
		u := mustParse(t, base)
		s, ok := ServiceAt(u.Hostname(), openai)
		if !ok {
			t.Fatalf("%s is no service", base)
		}
		if got := s.Instead(u); got != want {
			t.Errorf("%s: got %q, want %q", base, got, want)
		}
	}
	for _, s := range services {
		if got := s.Instead(mustParse(t, s.Base)); got != "" {
			t.Errorf("%s is said to be at %s", s.Base, got)
		}
	}
}

// A service whose paths have no version is meant by its host alone.
func TestHostOfAServiceAtTheRoot(t *testing.T) {
	s, _ := ServiceNamed("perplexity")
	for base, want := range map[string]string{
		"https://api.perplexity.ai":    "https://api.perplexity.ai/.",
		"https://api.perplexity.ai/":   "https://api.perplexity.ai/.",
		"https://api.perplexity.ai/v1": "https://api.perplexity.ai/v1",
	} {
		if got := s.Settle(mustParse(t, base)).String(); got != want {
			t.Errorf("%s: got %s, want %s", base, got, want)
		}
	}
	s, _ = ServiceNamed("groq")
	if got := s.Settle(mustParse(t, "https://api.groq.com/")).String(); got != "https://api.groq.com/" {
		t.Errorf("got %s", got)
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
