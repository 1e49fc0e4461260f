// SPDX-License-Identifier: Apache-2.0

package caddyfile_test

import (
	"regexp"
	"strings"
	"testing"
)

var knownOptions = regexp.MustCompile(`unrecognized (?:subdirective|option) bogus(?:, at Caddyfile:\d+)?; known: (?:the options of reverse_proxy, )?(.*?)(?:, at Caddyfile:|$)`)

// The error for an option that there is not names those that there are. Each of
// these is one, wherever the error names it.
func TestErrorsNameOptionsThatThereAre(t *testing.T) {
	const provider = "provider openai {\nkey sk-1\n}\n"
	for name, block := range map[string]string{
		"llm_proxy":     "anonymous\n" + provider + "OPTION",
		"client":        "client app {env.HOME} {\nOPTION\n}",
		"group":         "group staff {\nOPTION\n}",
		"jwt":           "jwt {\nOPTION\n}",
		"introspection": "introspection https://id.example.invalid {\nOPTION\n}",
		"trust_user":    "trust_user {\nOPTION\n}",
		"price":         "price gpt-4o {\nOPTION\n}",
		"tier of price": "price gpt-4o {\nbatch {\nOPTION\n}\n}",
		"redis":         "redis redis://localhost {\nOPTION\n}",
		"ledger redis":  "anonymous\nledger redis redis://localhost {\nOPTION\n}",
		"redis tls":     "redis redis://localhost {\ntls {\nOPTION\n}\n}",
		"provider":      "anonymous\nprovider openai {\nOPTION\n}",
		"key":           "anonymous\nprovider openai {\nkey sk-1 {\nOPTION\n}\n}",
		"credentials":   "anonymous\nprovider openai {\nkey {\ncredentials google {\nOPTION\n}\n}\n}",
		"verdict":       "anonymous\nverdict quota {\nOPTION\n}",
		"model":         "anonymous\nmodel m openai {\nOPTION\n}",
		"canary":        "anonymous\nmodel m openai {\ncanary {\nOPTION\n}\n}",
		"timeouts":      "anonymous\ntimeouts {\nOPTION\n}",
		"retry":         "anonymous\nretry {\nOPTION\n}",
		"breaker":       "anonymous\nbreaker {\nOPTION\n}",
	} {
		t.Run(name, func(t *testing.T) {
			errorOf := func(option string) string {
				_, err := adapt(":8080 {\nllm_proxy {\n" + strings.Replace(block, "OPTION", option, 1) + "\n}\n}\n")
				if err == nil {
					return ""
				}
				return err.Error()
			}
			found := knownOptions.FindStringSubmatch(errorOf("bogus"))
			if found == nil {
				t.Fatalf("no options in %q", errorOf("bogus"))
			}
			for option := range strings.SplitSeq(strings.ReplaceAll(found[1], " and ", ", "), ", ") {
				if why := errorOf(option); strings.Contains(why, "unrecognized") {
					t.Errorf("%s: %s", option, why)
				}
			}
		})
	}
}
