// SPDX-License-Identifier: Apache-2.0

// Package handler holds the HTTP handler that admits calls: it tells from the
// path what is asked, who is calling, and what the request needs, hands the
// call on to the transport, and settles the account when it is over.
package handler

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/handler/pricing"
	"github.com/seed83435595/caddy-llm-proxy/streaming/events"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
	"github.com/seed83435595/caddy-llm-proxy/streaming/startup"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler admits calls to LLM providers. It recognises the API family from
// the path, authenticates the client, reads the request as far as it must,
// and hands the call on to what carries it with transport llm: llm_relay, or a
// reverse_proxy. When the call is over it writes one log line about it.
//
// It sets these placeholders:
//
// Placeholder | Description
// ------------|---------------
// `{llm.client.id}` | The client that called
// `{llm.client.metadata.*}` | Its metadata, by name
// `{llm.operation}` | What was asked, such as `openai.chat`
// `{llm.model}` | The model that the client asked for
// `{llm.provider}` | The provider of the last attempt
// `{llm.key.id}` | The provider key of the last attempt
// `{llm.attempts}` | How many attempts were made
// `{llm.usage.input}` | Input tokens, cached ones included
// `{llm.usage.output}` | Output tokens, reasoning included
// `{llm.cost}` | What the call cost in US dollars; empty if that is unknown
// `{llm.first_token_ms}` | Milliseconds until the first generated event
// `{llm.finish_reason}` | Why the answer ended: `stop`, `length`, `tool_calls`, `content_filter`, `error` or `other`
// `{llm.outcome}` | `ok`, `refused`, `error`, `exhausted`, `broken` or `canceled`
//
// All but the first four are known only once the answer is complete, so
// they serve in logs, not in headers.
type Handler struct {
	// Callers are those who may call, and how to tell who is calling.
	Callers

	// TrustUser takes the word of authentication handlers in front for who is
	// calling. Default: nobody is trusted.
	TrustUser *TrustUser `json:"trust_user,omitempty"`

	// UserLimits are how much each client may use, if neither it nor a group
	// of its has a limit of the same kind for it.
	UserLimits []*Limit `json:"user_limits,omitempty"`

	// ShadowLimits counts what clients use and reports in the log when they
	// meet a limit, but refuses nothing. Default: false.
	ShadowLimits bool `json:"shadow_limits,omitempty"`

	// Anonymous lets anyone call, without any authentication. Only use it
	// where the network, or a handler in front, decides who gets here.
	// Default: false.
	Anonymous bool `json:"anonymous,omitempty"`

	// UsageEndpoint is a path under which clients may ask for their own limits
	// and usage, with their own key. Default: they may not.
	UsageEndpoint string `json:"usage_endpoint,omitempty"`

	// MetricsMetadata are names of clients' metadata by which metrics count
	// calls, tokens and cost; at most four. What they say should have few
	// values, such as teams or plans. Default: metrics know nothing of metadata.
	MetricsMetadata []string `json:"metrics_metadata,omitempty"`

	// Prices are what models cost, for calls whose cost the provider does not
	// state. Of those that match a call the first holds. Default: unknown.
	Prices []*Price `json:"prices,omitempty"`

	// PricesFile is a file with more of them, which a placeholder may name, in the format of LiteLLM's
	// model_prices_and_context_window.json. It is read again when it changes;
	// as long as it cannot be read, what it said before holds.
	PricesFile string `json:"prices_file,omitempty"`

	// MaxRequestBody is the size of the largest request body that is taken,
	// in bytes. Bodies are held in memory, so that they can be sent again.
	// Default: 32 MiB.
	MaxRequestBody int64 `json:"max_request_body,omitempty"`

	// Heartbeat is after how much silence the client of a stream of
	// server-sent events gets a comment, so that nothing on the way takes the
	// connection for dead. At least a second. Google's SDKs do not know
	// comments, so there are none in the streams of generateContent.
	// Default: there are no comments.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// LedgersRaw are where a record of each call is kept, besides the line in
	// the log. Default: nowhere.
	LedgersRaw []json.RawMessage `json:"ledgers,omitempty" caddy:"namespace=llm.ledger inline_key=sink"`

	// LedgerStrangers keeps records also of calls that were refused before it
	// was known that the caller may call. Anybody can make as many of those as
	// the line takes, and they may leave the others no room.
	// Default: false.
	LedgerStrangers bool `json:"ledger_strangers,omitempty"`

	metadataLine syntax.Line

	records records
	prices  atomic.Pointer[pricing.Table]
	// counts is where use is counted, and closeCounts ends that.
	counts      limits.Counts
	closeCounts func() error
	pricesFile  *filewatch.File
	events      *events.Emitter
}

const defaultMaxRequestBody = 32 << 20

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_proxy",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision gets ready what tells who is calling and what they may.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	start := startup.Of(ctx.GetMetricsRegistry())
	defer start.Module()()
	if err := metrics.Process.Register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	var err error
	if h.events, err = events.New(ctx, func() { start.Report(h.logger); h.managed.begin() }); err != nil {
		return err
	}
	if h.MaxRequestBody == 0 {
		h.MaxRequestBody = defaultMaxRequestBody
	}
	if h.rules, err = rulesOf(h.UserLimits); err != nil {
		return fmt.Errorf("user limits: %w", err)
	}
	if h.UsageEndpoint != "" {
		h.tallies = ownTallies
	}
	if err := errors.Join(h.openGroups(), h.openTrust()); err != nil {
		return err
	}
	// None of these needs another. Only one of them loads modules, for which a
	// caddy.Context must not be used by two at a time.
	err = start.Together(
		startup.Part{Name: "limits", Do: func() error { return h.openLimits(ctx) }},
		startup.Part{Name: "issuers", Do: h.openIssuers},
		startup.Part{Name: "ledgers", Do: func() error { return h.openLedgers(ctx) }},
		startup.Part{Name: "prices", Do: h.openPrices},
		startup.Part{Name: "clients", Do: func() error { return h.openClients(ctx) }},
	)
	if err == nil {
		h.checkPrices()
	}
	return err
}

// openLimits opens the memory of what clients use, and has it read what was
// written down before a restart.
func (h *Handler) openLimits(ctx caddy.Context) (err error) {
	if h.memory, err = openMemory(); err != nil {
		return err
	}
	if err := h.openCounts(); err != nil {
		return err
	}
	if h.hasLimits() {
		keep.Await(h.memory.keeper.Lend(h, ctx.Storage()))
	}
	return nil
}

// Cleanup gives back what is shared with other configs. Calls in flight keep
// what they need.
func (h *Handler) Cleanup() error {
	h.events.Close()
	h.pricesFile.Close()
	err := errors.Join(h.close(), h.records.close())
	if h.closeCounts != nil {
		err = errors.Join(err, h.closeCounts())
	}
	if h.memory != nil {
		err = errors.Join(err, closeMemory())
		h.memory.keeper.GiveBack(h)
	}
	return err
}

// hasLimits tells whether there may be clients whose use is counted.
func (h *Handler) hasLimits() bool {
	return h.ClientsFile != "" || h.ClientsStore != "" || len(h.UserLimits) > 0 || h.UsageEndpoint != "" || h.limitsClaimed() ||
		slices.ContainsFunc(h.Groups, func(g *Group) bool { return len(g.Limits) > 0 }) ||
		slices.ContainsFunc(h.Clients, func(c *Client) bool { return c != nil && len(c.Limits) > 0 })
}

// Validate refuses a config that would let anyone in unawares.
func (h *Handler) Validate() error {
	if err := h.checkOptions(); err != nil {
		return err
	}
	return h.checkCallers()
}

// checkOptions refuses options that cannot be meant as they stand.
func (h *Handler) checkOptions() error {
	switch {
	case h.MaxRequestBody < 0:
		return errors.New("max_request_body: must not be negative")
	case h.Heartbeat != 0 && h.Heartbeat < caddy.Duration(minHeartbeat):
		return fmt.Errorf("heartbeat: must be at least %s", minHeartbeat)
	case h.UsageEndpoint != "" && !strings.HasPrefix(h.UsageEndpoint, "/"):
		return errors.New("usage_endpoint: wants a path that begins with a slash, such as " + defaultUsageEndpoint)
	}
	return errors.Join(h.checkMetricsMetadata(), h.checkFailures())
}

// checkCallers refuses what does not fit those who may call.
func (h *Handler) checkCallers() error {
	known := h.known()
	switch {
	case h.Anonymous && len(h.UserLimits) > 0:
		return errors.New("rate_limit user: with anonymous there are no users to tell apart; limit by ip or global")
	case h.Anonymous && len(h.Groups) > 0:
		return errors.New("group: with anonymous there are no clients that could belong to it")
	case h.Anonymous && known:
		return errors.New("anonymous and client, clients, jwt, introspection, trust_user exclude one another: with anonymous, no client would ever be asked for its key")
	case !h.Anonymous && !known:
		return errors.New("nobody may call: add 'client <id> <sha256:…>' (caddy llm hash-key makes one), or say 'anonymous' to let anyone in")
	case h.Anonymous && h.UsageEndpoint != "":
		return errors.New("usage_endpoint: with anonymous there are no clients to tell of themselves")
	case h.Anonymous && len(h.MetricsMetadata) > 0:
		return errors.New("metrics_metadata: with anonymous there are no clients that could have metadata")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
