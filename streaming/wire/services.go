// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// Service is a provider that is known by its name or its address. Those that
// speak the same family's format differ in facts, which stand here; of others
// a config says the same facts.
type Service struct {
	// Name is what a provider may be called in a config to be it.
	Name string
	// Family is the format that it speaks under Base.
	Family *Family
	// Base is its base URL. It is empty where each customer has one, and the
	// own machine's for servers that anybody may run.
	Base string
	// Usage says how the streams of its chats come to state their usage.
	Usage UsageHabit

	// hosts are the hosts besides that of Base at which it is known; one that
	// begins with a dot or a dash stands for all that end so.
	hosts []string
}

// UsageHabit says whether streams state their usage.
type UsageHabit uint8

// The habits.
const (
	// UsageUnknown is that of a service of which nothing is known.
	UsageUnknown UsageHabit = iota
	// UsageUnasked is stated without being asked for.
	UsageUnasked
	// UsageAsked is stated only where the request asks for it, in an event of
	// its own; see [Request.AskForUsage].
	UsageAsked
)

// services are the providers that are known. What they do about usage is what
// recordings of them show, or their references say.
var services = []*Service{
	{Name: "openai", Family: openai, Base: "https://api.openai.com/v1", Usage: UsageAsked, hosts: []string{".api.openai.com"}},
	{Name: "anthropic", Family: anthropic, Base: "https://api.anthropic.com"},
	{Name: "gemini", Family: gemini, Base: "https://generativelanguage.googleapis.com"},
	{Name: "vertex", Family: vertex, Base: "https://aiplatform.googleapis.com", hosts: []string{"-aiplatform.googleapis.com"}},
	{Name: "azure", Family: azure, Usage: UsageAsked, hosts: []string{".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"}},
	{Name: "bedrock", Family: bedrock, hosts: []string{".amazonaws.com", ".api.aws"}},
	{Name: "cohere", Family: cohere, Base: "https://api.cohere.com", hosts: []string{"api.cohere.ai"}},
	{Name: "dashscope", Family: dashscope, Base: "https://dashscope-intl.aliyuncs.com", hosts: []string{"dashscope.aliyuncs.com", "dashscope-us.aliyuncs.com"}},
	{Name: "ollama", Family: ollama, Base: "http://localhost:11434"},
	{Name: "tgi", Family: tgi},
	{Name: "llama", Family: llama, Base: "http://localhost:8080"},

	{Name: "alibaba", Family: openai, Base: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", Usage: UsageAsked, hosts: []string{"dashscope.aliyuncs.com", "dashscope-us.aliyuncs.com"}},
	{Name: "avian", Family: openai, Base: "https://api.avian.io/v1", Usage: UsageUnasked},
	{Name: "cerebras", Family: openai, Base: "https://api.cerebras.ai/v1", Usage: UsageUnasked},
	{Name: "deepinfra", Family: openai, Base: "https://api.deepinfra.com/v1/openai"},
	{Name: "deepseek", Family: openai, Base: "https://api.deepseek.com/v1", Usage: UsageUnasked},
	{Name: "fireworks", Family: openai, Base: "https://api.fireworks.ai/inference/v1", Usage: UsageUnasked},
	{Name: "groq", Family: openai, Base: "https://api.groq.com/openai/v1", Usage: UsageUnasked},
	{Name: "huggingface", Family: openai, Base: "https://router.huggingface.co/v1"},
	{Name: "hyperbolic", Family: openai, Base: "https://api.hyperbolic.xyz/v1", Usage: UsageUnasked},
	{Name: "jina", Family: openai, Base: "https://api.jina.ai/v1"},
	{Name: "mistral", Family: openai, Base: "https://api.mistral.ai/v1", Usage: UsageUnasked, hosts: []string{"codestral.mistral.ai"}},
	{Name: "moonshot", Family: openai, Base: "https://api.moonshot.ai/v1", Usage: UsageUnasked, hosts: []string{"api.moonshot.cn"}},
	{Name: "nebius", Family: openai, Base: "https://api.studio.nebius.com/v1", Usage: UsageAsked, hosts: []string{"api.studio.nebius.ai", "api.tokenfactory.nebius.com"}},
	{Name: "novita", Family: openai, Base: "https://api.novita.ai/v3/openai", Usage: UsageAsked},
	{Name: "nvidia", Family: openai, Base: "https://integrate.api.nvidia.com/v1"},
	{Name: "openrouter", Family: openai, Base: "https://openrouter.ai/api/v1", Usage: UsageUnasked},
	{Name: "perplexity", Family: openai, Base: "https://api.perplexity.ai" + rootPath, Usage: UsageUnasked},
	{Name: "sambanova", Family: openai, Base: "https://api.sambanova.ai/v1", Usage: UsageAsked},
	{Name: "siliconflow", Family: openai, Base: "https://api.siliconflow.com/v1", hosts: []string{"api.siliconflow.cn"}},
	{Name: "together", Family: openai, Base: "https://api.together.xyz/v1", Usage: UsageUnasked, hosts: []string{"api.together.ai"}},
	{Name: "vercel", Family: openai, Base: "https://ai-gateway.vercel.sh/v1", Usage: UsageUnasked},
	{Name: "voyage", Family: openai, Base: "https://api.voyageai.com/v1"},
	{Name: "xai", Family: openai, Base: "https://api.x.ai/v1", Usage: UsageUnasked, hosts: []string{".api.x.ai"}},
	{Name: "zai", Family: openai, Base: "https://api.z.ai/api/paas/v4", Usage: UsageUnasked},
	{Name: "zhipu", Family: openai, Base: "https://open.bigmodel.cn/api/paas/v4", Usage: UsageUnasked},

	{Name: "llamacpp", Family: openai, Base: "http://localhost:8080/v1", Usage: UsageAsked},
	{Name: "lmstudio", Family: openai, Base: "http://localhost:1234/v1", Usage: UsageAsked},
	{Name: "vllm", Family: openai, Base: "http://localhost:8000/v1", Usage: UsageAsked},
}

// ServiceNamed returns the service of that name.
func ServiceNamed(name string) (*Service, bool) {
	for _, s := range services {
		if s.Name == name {
			return s, true
		}
	}

	return nil, false
}

// ServiceAt returns the service at a host that speaks a family's format there,
// or else another at that host.
func ServiceAt(host string, family *Family) (*Service, bool) {
	var other *Service
	for _, s := range services {
		switch {
		case s.Runnable() || !s.isAt(host):
		case s.Family == family:
			return s, true
		case other == nil:
			other = s
		}
	}

	return other, other != nil
}

// Runnable tells whether the service is a server that anybody may run, so that
// its address does not tell what it is.
func (s *Service) Runnable() bool {
	return s.Base == "" && s.hosts == nil || host(s.Base) == "localhost"
}

// Settle returns what is meant by a base URL at the service's host: without a
// path, the root if that is where the service is.
func (s *Service) Settle(base *url.URL) *url.URL {
	if s.path() != rootPath || strings.Trim(base.Path, "/") != "" {
		return base
	}
	settled := *base
	settled.Path, settled.RawPath = rootPath, ""

	return &settled
}

// Instead returns the base URL to write instead of one at the service's host,
// if it has a path where the service is sure not to be: /v1 by default or by
// habit, or only the beginning of the right one. It returns nothing otherwise:
// a service may be in several places.
func (s *Service) Instead(base *url.URL) string {
	known, path := s.path(), strings.TrimRight(base.EscapedPath(), "/")
	if path == "" && s.Family == openai {
		path = "/v1"
	}
	if known == "" || known == rootPath || path == known || path != "/v1" && !strings.HasPrefix(known, path+"/") {
		return ""
	}

	return base.Scheme + "://" + base.Host + known
}

// path returns the path of the service's base URL.
func (s *Service) path() string {
	_, rest, _ := strings.Cut(s.Base, "://")

	return strings.TrimPrefix(rest, hostOf(rest))
}

func (s *Service) isAt(at string) bool {
	at = strings.ToLower(at)

	return s.Base != "" && at == host(s.Base) || slices.ContainsFunc(s.hosts, func(known string) bool {
		return at == known || (known[0] == '.' || known[0] == '-') && strings.HasSuffix(at, known)
	})
}

// host returns the host of a base URL of ours.
func host(base string) string {
	_, rest, _ := strings.Cut(base, "://")
	rest = hostOf(rest)
	if name, _, err := net.SplitHostPort(rest); err == nil {
		return name
	}

	return rest
}

// hostOf returns what of a URL without its scheme is before the path.
func hostOf(rest string) string {
	before, _, _ := strings.Cut(rest, "/")

	return before
}

// ServiceNames returns the names of all services that have a base URL.
func ServiceNames() []string {
	var names []string
	for _, s := range services {
		if s.Base != "" {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)

	return names
}
