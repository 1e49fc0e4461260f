// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"regexp"
	"strings"
)

// find returns the price of a model that may be known by one of those names:
// what was asked for, and what answered. What answered says more, and a name
// with its provider before it says most. A version of a model that is not
// listed costs what the model does.
func (l List) find(c Call, names []string) *Price {
	if len(l) == 0 {
		return nil
	}
	for {
		for i := len(names) - 1; i >= 0; i-- {
			if price := l.ofProvider(c, names[i]); price != nil {
				return price
			}
		}
		for i := len(names) - 1; i >= 0; i-- {
			if price := l[names[i]]; price != nil {
				return price
			}
		}
		plainer, found := withoutVersions(names)
		if !found {
			return nil
		}
		names = plainer
	}
}

// ofProvider returns the price of a model that is listed under a name of the
// provider.
func (l List) ofProvider(c Call, model string) *Price {
	if price := l[c.Provider+"/"+model]; price != nil {
		return price
	}
	for _, slug := range slugs[c.Service] {
		if price := l[slug+"/"+model]; price != nil {
			return price
		}
	}
	return l[c.Service+"/"+model]
}

// versions are what names of models have before or behind them: the region of
// a Bedrock profile, the rest of an ARN or of a path, dates and numbers of
// versions.
var versions = []*regexp.Regexp{
	regexp.MustCompile(`^(?:arn:[^/]*/|models/|publishers/[^/]+/models/)`),
	regexp.MustCompile(`^(?:us|eu|apac|au|ca|jp|us-gov|global)\.`),
	regexp.MustCompile(`(?:-v\d+)?:\d+$`),
	regexp.MustCompile(`[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{4}|\d{3}|latest|default)$`),
}

// withoutVersions takes one such part off each of the names, and says false if
// none has any.
func withoutVersions(names []string) (plainer []string, found bool) {
	plainer = make([]string, len(names))
	for i, name := range names {
		plainer[i] = name
		for _, version := range versions {
			if at := version.FindStringIndex(name); at != nil && at[1]-at[0] < len(name) {
				plainer[i] = strings.Join([]string{name[:at[0]], name[at[1]:]}, "")
				found = true
				break
			}
		}
	}
	return plainer, found
}

// slugs are what LiteLLM calls services that we call otherwise.
var slugs = map[string][]string{
	"azure":       {"azure", "azure_ai"},
	"vertex":      {"vertex_ai"},
	"cohere":      {"cohere", "cohere_chat"},
	"together":    {"together_ai"},
	"fireworks":   {"fireworks_ai"},
	"jina":        {"jina_ai"},
	"nvidia":      {"nvidia_nim"},
	"vercel":      {"vercel_ai_gateway"},
	"lmstudio":    {"lm_studio"},
	"vllm":        {"hosted_vllm"},
	"zhipu":       {"zai"},
	"tgi":         {"huggingface"},
	"huggingface": {"huggingface"},
}
