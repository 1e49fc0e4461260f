// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// The list of models costs nothing. Where there is none, or anyone gets it,
// nothing is probed.
func TestProbesAskForTheListOfModels(t *testing.T) {
	for _, test := range []struct{ family, base, model, want string }{
		{"openai", "https://api.openai.com/v1", "", "https://api.openai.com/v1/models"},
		{"openai", "https://api.openai.com/v1", "gpt-4o", "https://api.openai.com/v1/models/gpt-4o"},
		{"openai", "https://api.z.ai/api/paas/v4/", "", "https://api.z.ai/api/paas/v4/models"},
		{"openai", "http://127.0.0.1:8000", "org/name", "http://127.0.0.1:8000/v1/models/org%2Fname"},
		{"anthropic", "https://api.anthropic.com", "", "https://api.anthropic.com/v1/models"},
		{"anthropic", "https://api.deepseek.com/anthropic", "claude-x", "https://api.deepseek.com/anthropic/v1/models/claude-x"},
		{"gemini", "https://generativelanguage.googleapis.com", "", "https://generativelanguage.googleapis.com/v1beta/models"},
		{"gemini", "https://generativelanguage.googleapis.com/v1", "gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1/models/gemini-2.5-pro"},
		{"azure", "https://r.openai.azure.com/openai/v1", "", "https://r.openai.azure.com/openai/models?api-version=2024-10-21"},
		{"cohere", "https://api.cohere.com", "", "https://api.cohere.com/v1/models"},
		{"bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com", "", ""},
		{"vertex", "https://aiplatform.googleapis.com", "", ""},
		{"ollama", "https://ollama.com", "", ""},
		{"tgi", "http://127.0.0.1:3000", "", ""},
		{"dashscope", "https://dashscope-intl.aliyuncs.com", "", ""},
	} {
		family, ok := wire.Lookup(test.family)
		if !ok {
			t.Fatal(test.family)
		}
		got := ""
		if at := family.ProbeURL(parseURL(t, test.base), test.model); at != nil {
			got = at.String()
		}
		if got != test.want {
			t.Errorf("%s at %s: got %s, want %s", test.family, test.base, got, test.want)
		}
	}
}
