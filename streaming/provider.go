// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// Provider is an upstream service: a base URL, an API family and a pool of
// keys.
type Provider struct {
	// Name is what model routes, logs and metrics call the provider.
	Name string `json:"name"`

	// BaseURL is where the provider's API is: http or https, with a path
	// where the API has one. For the openai family a path is what its SDKs
	// would be given, version included; without any path it is /v1, and /. is
	// the root.
	// Default: that of the service that the provider is named after.
	BaseURL string `json:"base_url,omitempty"`

	// API is the provider's API family: openai, anthropic, gemini, azure, bedrock,
	// vertex, cohere, ollama, dashscope, llama or tgi.
	// Default: that of the service that the provider is named after, otherwise
	// openai.
	API string `json:"api,omitempty"`

	// Keys are the provider's credentials. At least one key is needed, here, in
	// KeyLists or in KeysFile, unless the provider is a server that anybody may
	// run.
	Keys []*Key `json:"keys,omitempty"`

	// KeyLists are texts that hold several secrets each, apart from one
	// another by white space or commas: usually a placeholder such as
	// {file./run/secrets/keys} or {env.OPENAI_KEYS}.
	KeyLists []string `json:"key_lists,omitempty"`

	// KeysFile is a file of further keys, which is read again when it changes:
	// secrets apart from one another by white space or commas, or a JSON
	// object with a list "keys" of what stands in Keys. A file that is broken,
	// or has no key, changes nothing.
	KeysFile string `json:"keys_file,omitempty"`

	// Select is how a key is chosen: round_robin, weighted, least_busy,
	// fastest, headroom or sticky.
	// Default: weighted if any key has a weight, otherwise round_robin.
	Select string `json:"select,omitempty"`

	// Prefill says whether the provider's models go on from the beginning of
	// an answer when it stands behind the request's messages: on or off.
	// It serves to take up a broken stream (see Rescue). A model that refuses
	// is not asked like that again. Default: on, but off for the openai family.
	Prefill string `json:"prefill,omitempty"`

	// Usage says whether the provider is asked for the usage of streams whose
	// client does not ask for it: inject or observe. Default: that of the
	// transport.
	Usage string `json:"usage,omitempty"`

	// AuthHeader is where the provider wants its keys.
	// Default: where those of its API family do.
	AuthHeader *AuthHeader `json:"auth_header,omitempty"`

	// Headers are sent with each request, in the place of the client's headers
	// of the same names. Placeholders are evaluated when the config is loaded.
	Headers map[string]string `json:"headers,omitempty"`

	// Verdicts are rules of what an answer of this provider means. They come
	// before those for all providers, and the first that fits holds.
	Verdicts []*VerdictRule `json:"verdicts,omitempty"`

	// Probe is how often a key of this provider is tried by a call that costs
	// nothing while it rests. A negative value means never. Default: as for all
	// providers.
	Probe caddy.Duration `json:"probe,omitempty"`

	// TransportRaw is the transport to this provider: TLS, proxies, resolvers
	// and timeouts are its options. Default: http, with TLS for https.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	line   syntax.Line
	family *wire.Family
	// service is what the provider is known to be; nil if nothing is known of
	// it.
	service *wire.Service
	base    *url.URL
	headers http.Header
	// dial is the reverseproxy.DialInfo of it, ready for a context.
	dial any
	// pool is of the keys of the config, which are fixed, and of those of the
	// file. With the file it is replaced by another.
	pool    atomic.Pointer[keypool.Pool]
	options keypool.Options
	fixed   []keypool.Key
	// keyless says that the provider is asked without a key.
	keyless bool
	file    *filewatch.File
	// borrowed names what p holds of keyStates, apart from the states of the
	// keys that are in the pool.
	borrowed, keyNames []string
	// memory is nil if nothing is kept over restarts.
	memory *remembered
	// recalled tells when what was written down of the keys has been read.
	recalled keep.Restored
	// lenders are where the credentials of those keys come from that have no
	// secret, by the key's id, and keepers what holds them.
	lenders   map[string]*lender
	keepers   map[string]*credentials.Keeper
	transport http.RoundTripper
	// prefills and asks are which models take a prefill, and which are asked
	// for the usage of their streams.
	prefills, asks *feature
	budget         *keypool.Budget
	stored         stored
	rules          wire.OwnRules
	// successes are those of the rules that may hold for a success.
	successes wire.OwnRules
}

// keyStates holds what is known of each key, and of each provider's servers, at
// run time. It outlives configs, so that a reload forgets no cool-down.
var keyStates = caddy.NewUsagePool()

// provision prepares p. What it has borrowed is to be given back, also when it
// fails.
func (p *Provider) provision(ctx caddy.Context, t *Transport) error {
	if p.Name == "" {
		return errors.New("a provider needs a name")
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := p.provisionAddress(); err != nil {
		return err
	}
	err := p.provisionHeaders()
	if err != nil {
		return err
	}
	p.prefills = newPrefills(p.Prefill, p.family.Name)
	p.asks = newAsks(p.Usage, t.Usage, p.service)
	if err := p.provisionTransport(ctx, t.Timeouts.Connect); err != nil {
		return err
	}
	if p.rules, err = ownRules(p.Verdicts, t.Verdicts); err != nil {
		return err
	}
	p.successes = p.rules.OfSuccesses()
	p.budget = t.Retry.newBudget()
	p.options = keypool.Options{
		Breaker: t.Breaker.rules(), MaxWait: time.Duration(t.Retry.MaxWait), Notify: t.notifier(p.Name),
	}
	if err := p.provisionKeys(ctx, t.logger, t.State == statePersist); err != nil {
		return err
	}
	return p.provisionKeepers(t)
}
