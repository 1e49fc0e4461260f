// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func TestEveryCredentialIsFoundAndStripped(t *testing.T) {
	h := http.Header{}
	h.Add("Authorization", "bEARER  one ")
	h.Add("Authorization", "Basic dXNlcjpwYXNz")
	h.Add("x-api-key", "two")
	h.Add("api-key", " three")
	h.Add("x-goog-api-key", "four")
	h.Add("OpenAI-Organization", "org-of-the-client")
	for _, name := range []string{"Ocp-Apim-Subscription-Key", "apikey", "token", "X-Access-Token", "X-Auth-Key", "X-Auth-Token", "Helicone-Auth"} {
		h.Add(name, "key-for-elsewhere")
	}
	h.Add("Accept", "application/json")
	h.Add("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.seven,openai-insecure-api-key.")
	h.Add("Sec-WebSocket-Protocol", "openai-organization.org, xai-client-secret.eight, beta")
	u := parseURL(t, "/v1/models?key=five%2B&k=no&%6Bey=six&key=&api-key=nine&Authorization=Bearer+ten&authorization=eleven")

	got := slices.Collect(wire.Credentials(h, u))
	if want := []string{"one", "two", "three", "four", "seven", "eight", "five+", "six", "nine", "ten"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	for range wire.Credentials(h, u) {
		break
	}

	wire.StripCredentials(h)
	if left := slices.Collect(wire.Credentials(h, nil)); len(left) > 0 || len(h) != 2 || h.Get("Sec-WebSocket-Protocol") != "realtime, beta" {
		t.Errorf("left over: %q in %v", left, h)
	}
	bare := http.Header{"Sec-Websocket-Protocol": {"openai-insecure-api-key.k"}}
	if wire.StripCredentials(bare); len(bare) != 0 {
		t.Errorf("left over: %v", bare)
	}
}

func TestCredentialIsPlacedAsTheFamilyWants(t *testing.T) {
	for _, test := range []struct{ family, secret, name, value string }{
		{"openai", "sk-1", "Authorization", "Bearer sk-1"},
		{"anthropic", "sk-ant-api03-1", "X-Api-Key", "sk-ant-api03-1"},
		{"anthropic", "sk-ant-oat01-1", "Authorization", "Bearer sk-ant-oat01-1"},
		{"gemini", "AIza1", "X-Goog-Api-Key", "AIza1"},
		{"gemini", "ya29.1", "Authorization", "Bearer ya29.1"},
	} {
		family, ok := wire.Lookup(test.family)
		if !ok {
			t.Fatalf("no family %q", test.family)
		}
		h := http.Header{}
		family.Authorize(h, test.secret)
		if got := h.Get(test.name); got != test.value {
			t.Errorf("%s: %s is %q in %v", test.family, test.name, got, h)
		}
		if got := slices.Collect(wire.Credentials(h, nil)); len(got) != 1 {
			t.Errorf("%s: placed %d credentials", test.family, len(got))
		}
	}
}

func TestAnthropicVersionIsTheClientsOrADefault(t *testing.T) {
	family, _ := wire.Lookup("anthropic")
	for sent, want := range map[string]string{"": "2023-06-01", "2030-01-01": "2030-01-01"} {
		h := http.Header{}
		if sent != "" {
			h.Set("anthropic-version", sent)
		}
		family.Authorize(h, "k")
		if got := h.Get("anthropic-version"); got != want {
			t.Errorf("sent %q: got %q", sent, got)
		}
	}
}
