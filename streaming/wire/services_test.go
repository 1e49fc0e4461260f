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
