// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// marked is a price that can be told from others.
func marked(dollars float64) *Price {
	p := new(Price)
	_ = p.Set(unitInput, dollars)
	return p
}

func mark(p *Price) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprint(float64(p.each[unitInput]) / perDollar)
}

func TestRowsThatNameTheProviderComeFirst(t *testing.T) {
	row := func(match string, dollars float64) Row { return Row{Match: match, Price: *marked(dollars)} }
	table := NewTable([]Row{
		row("gpt-4o", 1), row("gpt-*", 2), row("azure/*", 3), row("azure/gpt-4o", 4), row("anthropic/claude-*", 5), row("deployed-*", 6),
	}, List{"listed": marked(7), "gpt-4o": marked(8)})
	for _, test := range []struct{ provider, model, answered, want string }{
		{"openai", "gpt-4o", "", "1"},
		{"openai", "gpt-4o-mini", "", "2"},
		{"openai", "gpt-4o-mini", "gpt-4o", "1"},
		{"azure", "gpt-4o", "", "3"},
		{"anthropic", "claude-x", "", "5"},
		{"openrouter", "anthropic/claude-x", "", "5"},
		{"azure-west", "my", "gpt-4o", "1"},
		{"azure-west", "deployed-1", "unheard-of", "6"},
		{"openai", "listed", "", "7"},
		{"openai", "unheard-of", "", "none"},
	} {
		if got := mark(table.find(Call{Provider: test.provider, Model: test.model, Answered: test.answered})); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestNamesInLists(t *testing.T) {
	list := List{
		"gpt-4o": marked(1), "gpt-4o-2024-05-13": marked(2), "azure/gpt-4o": marked(3), "gemini/gemini-2.5-pro": marked(4),
		"gemini-2.5-pro": marked(5), "anthropic.claude-sonnet-4-20250514-v1:0": marked(6), "claude-sonnet-4-20250514": marked(7),
		"together_ai/meta/Llama": marked(8), "groq/llama": marked(9), "amazon.nova-pro": marked(10), "claude-sonnet-4": marked(11),
		"mine/llama": marked(12),
	}
	for _, test := range []struct {
		provider, service, model, answered, want string
	}{
		{"openai", "openai", "gpt-4o", "", "1"},
		{"openai", "openai", "gpt-4o", "gpt-4o-2024-05-13", "2"},
		{"openai", "openai", "gpt-4o", "gpt-4o-2024-11-20", "1"},
		{"openai", "openai", "gpt-4o-2024-11-20", "", "1"},
		{"west", "azure", "my", "gpt-4o-2024-11-20", "3"},
		{"google", "gemini", "gemini-2.5-pro", "", "4"},
		{"google", "vertex", "gemini-2.5-pro", "", "5"},
		{"google", "vertex", "gemini-2.5-pro-001", "", "5"},
		{"b", "bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", "", "6"},
		{"b", "bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0", "", "6"},
		{"b", "bedrock", "amazon.nova-pro-v1:0", "", "10"},
		{"v", "vertex", "claude-sonnet-4@20250514", "", "11"},
		{"t", "together", "meta/Llama", "", "8"},
		{"groq", "", "llama", "", "9"},
		{"mine", "groq", "llama", "", "12"},
		{"local", "", "llama", "", "none"},
		{"local", "", "-2024", "", "none"},
		{"local", "", "", "", "none"},
	} {
		call := Call{Provider: test.provider, Service: test.service, Model: test.model, Answered: test.answered}
		if got := mark(NewTable(nil, list).find(call)); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// The sample has the fields that LiteLLM's list has.
func TestLiteLLM(t *testing.T) {
	text, err := os.ReadFile("testdata/litellm.json")
	if err != nil {
		t.Fatal(err)
	}
	list, senseless, err := ParseLiteLLM(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"below-nothing", "in-words"}; !slices.Equal(senseless, want) {
		t.Errorf("senseless are %v, want %v", senseless, want)
	}
	for _, none := range []string{"sample_spec", "fallback_generalizations", "null"} {
		if list[none] != nil {
			t.Errorf("%s has a price", none)
		}
	}
	table := NewTable(nil, list)
	for _, test := range []struct {
		path, model, answer string
		want                float64 // in dollars
	}{
		{chat, "tiered", `{"usage":{"prompt_tokens":100000,"completion_tokens":10000}}`, 0.1 + 0.1},
		{chat, "tiered", `{"usage":{"prompt_tokens":200001,"completion_tokens":10000,"prompt_tokens_details":{"cached_tokens":200000}}}`, 0.000002 + 0.04 + 0.15},
		{chat, "tiered", `{"service_tier":"flex","usage":{"prompt_tokens":100000,"completion_tokens":10000}}`, 0.05 + 0.05},
		{chat, "tiered", `{"service_tier":"priority","usage":{"prompt_tokens":300000,"completion_tokens":10000}}`, 1.2 + 0.15},
		{chat, "tiered", `{"service_tier":"batch","usage":{"prompt_tokens":100000}}`, 0.025},
		{messages, "cached", `{"usage":{"input_tokens":1000,"cache_read_input_tokens":1000,"cache_creation_input_tokens":2000,"cache_creation":{"ephemeral_1h_input_tokens":1000}}}`, 0.003 + 0.0003 + 0.00375 + 0.006},
		{messages, "cached", `{"usage":{"input_tokens":1000,"server_tool_use":{"web_search_requests":2}}}`, 0.003 + 0.02},
		{chat, "ranged", `{"usage":{"prompt_tokens":32000,"completion_tokens":1000}}`, 0.032 + 0.004},
		{chat, "ranged", `{"usage":{"prompt_tokens":32001,"completion_tokens":1000,"completion_tokens_details":{"reasoning_tokens":500}}}`, 0.064002 + 0.004 + 0.02},
		{"/v1/audio/transcriptions", "heard", `{"text":"","usage":{"type":"duration","seconds":60}}`, 0.006},
		{"/v1/images/generations", "drawn", `{"data":[{"url":""}]}`, 0.04},
	} {
		usage, tier := usageOf(t, test.path, test.answer)
		got, known := table.Cost(Call{Model: test.model, Usage: usage, ServiceTier: tier})
		if got != fromUSD(test.want) || !known {
			t.Errorf("%s %s: %v, known %t; want %v", test.model, test.answer, got.USD(), known, test.want)
		}
	}
}

func TestBrokenLists(t *testing.T) {
	for _, text := range []string{"", "[]", "{", "{}", `{"m":{"mode":"chat"}}`, `{"m":{"input_cost_per_token":-1}}`, `null`} {
		if _, _, err := ParseLiteLLM([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), "reading prices: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzLiteLLM wants no panic, and that every price that is taken can be
// reckoned with.
func FuzzLiteLLM(f *testing.F) {
	text, _ := os.ReadFile("testdata/litellm.json")
	f.Add(text)
	f.Add([]byte(`{"m":{"input_cost_per_token_above_99999999999999999999k_tokens_flex":1,"tiered_pricing":[{"range":[1e300],"input_cost_per_token":1}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, _, err := ParseLiteLLM(text)
		if err != nil {
			return
		}
		table := NewTable(nil, list)
		for model := range list {
			if cost, _ := table.Estimate(model, 1<<62, 1<<62); cost < 0 {
				t.Errorf("%s costs %d", model, cost)
			}
		}
	})
}
