// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// defaultIdleConns is how many idle connections to a provider are kept.
const defaultIdleConns = 256

// Provider is an upstream service: a base URL, an API family and a pool of
// keys.
type Provider struct {
	// Name is what model routes, logs and metrics call the provider.
	Name string `json:"name"`

	// BaseURL is where the provider's API is: http or https, with a path
	// where the API has one. For the openai family a path is what its SDKs
	// would be given, version included; without any path it is /v1.
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
	dial    reverseproxy.DialInfo
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

// provisionAddress settles the API family and where the provider is.
func (p *Provider) provisionAddress() error {
	p.settleFamily()
	base, err := p.baseURL()
	if err != nil {
		return err
	}
	if base, err = caddy.NewReplacer().ReplaceOrErr(base, true, true); err != nil {
		return fmt.Errorf("base URL: %w", err)
	}
	if err := p.setBase(base); err != nil {
		return err
	}
	p.recognize()
	return nil
}

// settleFamily finds the API family, of which the name is known to be one if
// it is given.
func (p *Provider) settleFamily() {
	named, known := wire.ServiceNamed(p.Name)
	switch {
	case p.API != "":
		p.family, _ = wire.Lookup(p.API)
	case known:
		p.family = named.Family
	default:
		p.family, _ = wire.Lookup("openai")
	}
}

// baseURL returns the base URL as it is written, or else the default.
func (p *Provider) baseURL() (string, error) {
	if p.BaseURL != "" {
		return p.BaseURL, nil
	}
	named, known := wire.ServiceNamed(p.Name)
	if !known || named.Family != p.family || named.Base == "" {
		return "", fmt.Errorf("a base URL is needed, such as https://api.example.com/v1; only a provider named after a service that is known (%s) has a default",
			strings.Join(wire.ServiceNames(), ", "))
	}
	return named.Base, nil
}

// recognize finds out what the provider is: by its address, or by its name if
// that is the name of a server that may run at any address. A service that is
// asked for at another address is not what is known: it may be a proxy.
func (p *Provider) recognize() {
	named, _ := wire.ServiceNamed(p.Name)
	at, known := wire.ServiceAt(p.base.Hostname(), p.family)
	switch {
	case known:
		p.service = at
	case named != nil && named.Runnable():
		p.service = named
	}
}

// serviceName returns what the provider is known to be, or else its family.
func (p *Provider) serviceName() string {
	if p.service == nil {
		return p.family.Name
	}
	return p.service.Name
}

func (p *Provider) setBase(base string) error {
	u, err := url.Parse(base)
	if err != nil {
		// Not the error itself: it repeats what may be a password.
		return errors.New("base URL: malformed; it should look like https://api.example.com/v1")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("base URL: there is no port %s", port)
		}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("base URL %q: must start with http:// or https:// and name a host", base)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("base URL: must not hold credentials, a query or a fragment")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p.base = u
	p.dial = reverseproxy.DialInfo{
		Network: "tcp",
		Address: net.JoinHostPort(u.Hostname(), port),
		Host:    u.Hostname(),
		Port:    port,
	}
	return nil
}

// provisionTransport loads the transport to the provider. Caddy's own turns
// TLS on only when it is told to, so it is told to for https.
func (p *Provider) provisionTransport(ctx caddy.Context, connect caddy.Duration) error {
	options := map[string]json.RawMessage{}
	if len(p.TransportRaw) > 0 {
		if err := json.Unmarshal(p.TransportRaw, &options); err != nil {
			return fmt.Errorf("reading transport: %w", err)
		}
	} else {
		options["protocol"] = json.RawMessage(`"http"`)
	}
	if string(options["protocol"]) == `"http"` {
		if p.base.Scheme == "https" && options["tls"] == nil {
			options["tls"] = json.RawMessage(`{}`)
		}
		if options["keep_alive"] == nil {
			options["keep_alive"] = json.RawMessage(fmt.Sprintf(`{"max_idle_conns_per_host":%d}`, defaultIdleConns))
		}
		if connect > 0 && options["dial_timeout"] == nil {
			options["dial_timeout"] = json.RawMessage(strconv.FormatInt(int64(connect), 10))
		}
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("writing transport: %w", err)
	}
	guest := struct {
		Raw json.RawMessage `caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`
	}{raw}
	module, err := ctx.LoadModule(&guest, "Raw")
	if err != nil {
		return fmt.Errorf("loading transport: %w", err)
	}
	transport, ok := module.(http.RoundTripper)
	if _, nested := module.(*Transport); !ok || nested {
		return fmt.Errorf("transport %s cannot carry requests to a provider", options["protocol"])
	}
	p.transport = transport
	return nil
}

// resolveKeys evaluates the placeholders of all secrets. The results stay out
// of the exported fields, which end up in logs and in the admin API.
func (p *Provider) resolveKeys(ctx caddy.Context) ([]keypool.Key, error) {
	repl := caddy.NewReplacer()
	var keys []keypool.Key
	for i, key := range p.Keys {
		if key == nil {
			return nil, fmt.Errorf("key %d: null", i+1)
		}
		ready, err := p.resolveKey(ctx, repl, key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, ready)
	}
	for i, list := range p.KeyLists {
		text, err := repl.ReplaceOrErr(list, true, true)
		if err != nil {
			return nil, fmt.Errorf("keys, entry %d: %w", i+1, err)
		}
		more, err := p.splitKeys(text)
		if err != nil {
			return nil, fmt.Errorf("keys, entry %d: %w", i+1, err)
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// splitKeys returns the keys of a text that holds several secrets.
func (p *Provider) splitKeys(text string) ([]keypool.Key, error) {
	var keys []keypool.Key
	for _, secret := range strings.FieldsFunc(text, isListSeparator) {
		if err := p.checkSecret(secret); err != nil {
			return nil, err
		}
		keys = append(keys, keypool.Key{Secret: keypool.NewSecret(secret)})
	}
	return keys, nil
}

func isListSeparator(r rune) bool {
	return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r'
}
