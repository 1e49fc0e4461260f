// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/url"
	"strings"
	"testing"
)

// A base URL that goes on too far is refused, and the error says where it
// should have ended.
func TestBaseThatGoesOnTooFarIsRefused(t *testing.T) {
	for _, test := range []struct{ family, base, instead string }{
		{"openai", "https://api.example.com/v1/chat/completions", "https://api.example.com/v1"},
		{"openai", "https://api.example.com/v1/chat/completions/", "https://api.example.com/v1"},
		{"openai", "https://api.example.com/api/paas/v4/chat/completions", "https://api.example.com/api/paas/v4"},
		{"openai", "https://api.example.com/v3/openai/chat/completions", "https://api.example.com/v3/openai"},
		{"openai", "https://api.example.com/api/v3/embeddings", "https://api.example.com/api/v3"},
		{"openai", "https://api.example.com/v1/responses", "https://api.example.com/v1"},
		{"openai", "http://[::1]:8000/chat/completions", "http://[::1]:8000"},
		{"openai", "https://api.example.com/v1/v1", "https://api.example.com/v1"},
		{"openai", "https://api.example.com/v1/v1/", "https://api.example.com/v1"},
		{"anthropic", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1"},
		{"anthropic", "https://api.anthropic.com/v1/v1", "https://api.anthropic.com/v1"},
		{"gemini", "https://g.example.com/v1beta/models/gemini-2.5-pro:generateContent", "https://g.example.com/v1beta"},
		{"gemini", "https://g.example.com/v1beta/v1beta", "https://g.example.com/v1beta"},
		{"azure", "https://x.openai.azure.com/openai/deployments/gpt/chat/completions", "https://x.openai.azure.com/openai"},
		{"azure", "https://x.openai.azure.com/openai/v1/chat/completions", "https://x.openai.azure.com/openai"},
		{"ollama", "http://localhost:11434/api/chat", "http://localhost:11434"},
		{"cohere", "https://api.cohere.com/v2/chat", "https://api.cohere.com/v2"},
		{"bedrock", "https://bedrock.example.com/model/claude/converse", "https://bedrock.example.com"},
		{"tgi", "http://10.0.0.5:8080/generate", "http://10.0.0.5:8080"},
	} {
		family, _ := Lookup(test.family)
		base, err := url.Parse(test.base)
		if err != nil {
			t.Fatal(err)
		}
		if err = family.CheckBase(base); err == nil || !strings.HasSuffix(err.Error(), "write "+test.instead) {
			t.Errorf("%s at %s: got %v, want it to say %s", test.family, test.base, err, test.instead)
		}
		mended, _ := url.Parse(test.instead)
		if err := family.CheckBase(mended); err != nil {
			t.Errorf("%s at %s: %v", test.family, test.instead, err)
		}
	}
}

// So is none of the services that are known, nor what merely looks alike.
func TestBaseThatIsOneIsTaken(t *testing.T) {
	bases := map[string]*Family{
		"https://gateway.example.com/completions":                      openai,
		"https://gateway.example.com/team/embeddings":                  openai,
		"https://gateway.example.com/openai/chat":                      openai,
		"https://gateway.example.com/v1/v2":                            openai,
		"https://gateway.example.com/v1/accounts/v1":                   openai,
		"https://gateway.example.com/":                                 openai,
		"https://generativelanguage.googleapis.com/v1beta/openai":      openai,
		"https://gateway.example.com/anthropic":                        anthropic,
		"https://gateway.example.com/messages":                         anthropic,
		"https://aiplatform.googleapis.com/v1/projects/p/locations/eu": vertex,
		"https://x.openai.azure.com/openai/v1":                         azure,
	}
	for _, service := range services {
		if service.Base != "" {
			bases[service.Base] = service.Family
		}
	}
	for text, family := range bases {
		base, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := family.CheckBase(base); err != nil {
			t.Errorf("%s at %s: %v", family.Name, text, err)
		}
	}
}
