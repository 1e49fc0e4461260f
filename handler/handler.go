// SPDX-License-Identifier: Apache-2.0

// Package handler holds the HTTP handler that admits calls: it tells from the
// path what is asked, who is calling, and what the request needs, hands the
// call on to the transport, and settles the account when it is over.
package handler

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler admits calls to LLM providers. It recognises the API family from
// the path, authenticates the client, reads the request as far as it must,
// and hands the call on to a reverse_proxy whose transport is llm. When the
// call is over it writes one log line about it.
//
// It sets these placeholders:
//
// Placeholder | Description
// ------------|---------------
// `{llm.client.id}` | The client that called
// `{llm.operation}` | What was asked, such as `openai.chat`
// `{llm.model}` | The model that the client asked for
// `{llm.provider}` | The provider of the last attempt
// `{llm.key.id}` | The provider key of the last attempt
// `{llm.attempts}` | How many attempts were made
// `{llm.usage.input}` | Input tokens, cached ones included
// `{llm.usage.output}` | Output tokens, reasoning included
// `{llm.first_token_ms}` | Milliseconds until the first generated event
// `{llm.outcome}` | `ok`, `refused`, `error`, `exhausted`, `broken` or `canceled`
//
// All but the first three are known only once the answer is complete, so
// they serve in logs, not in headers.
type Handler struct {
	// Clients are those who may call. One client, or Anonymous, is needed.
	Clients []*Client `json:"clients,omitempty"`

	// Anonymous lets anyone call, without any authentication. Only use it
	// where the network, or a handler in front, decides who gets here.
	// Default: false.
	Anonymous bool `json:"anonymous,omitempty"`

	// MaxRequestBody is the size of the largest request body that is taken,
	// in bytes. Bodies are held in memory, so that they can be sent again.
	// Default: 32 MiB.
	MaxRequestBody int64 `json:"max_request_body,omitempty"`

	directory auth.Directory
	logger    *zap.Logger
}

// Client is somebody who may call.
type Client struct {
	// ID is the client's name in logs and metrics.
	ID string `json:"id"`

	// Secrets are the client's virtual keys, each as sha256:<hex of its
	// SHA-256 hash>, or as a placeholder such as {env.APP_KEY} that holds
	// either this or the key itself. Several may be valid at a time, so that
	// a key can be changed without an interruption.
	Secrets []string `json:"secrets"`
}

const defaultMaxRequestBody = 32 << 20

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_proxy",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision enters the clients into the directory.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.MaxRequestBody == 0 {
		h.MaxRequestBody = defaultMaxRequestBody
	}
	for i, c := range h.Clients {
		if err := h.enter(c); err != nil {
			return fmt.Errorf("client %d (%q): %w", i+1, c.ID, err)
		}
	}
	return nil
}

func (h *Handler) enter(c *Client) error {
	repl := caddy.NewReplacer()
	digests := make([]auth.Digest, 0, len(c.Secrets))
	for _, s := range c.Secrets {
		secret, err := repl.ReplaceOrErr(s, true, true)
		if err != nil {
			return fmt.Errorf("secret: %w", err)
		}
		digest, err := auth.ParseDigest(secret)
		if err != nil && secret != s {
			// It came out of the environment or a file, where it may stand
			// as it is.
			digest, err = auth.HashSecret(secret), nil
		}
		if err != nil {
			return fmt.Errorf("secret: %w", err)
		}
		digests = append(digests, digest)
	}
	return h.directory.Add(&auth.Client{ID: c.ID}, digests...)
}

// Validate refuses a config that would let anyone in unawares.
func (h *Handler) Validate() error {
	switch {
	case h.MaxRequestBody < 0:
		return errors.New("max_request_body: must not be negative")
	case h.Anonymous && h.directory.Len() > 0:
		return errors.New("anonymous and client exclude one another: with anonymous, no client would ever be asked for its key")
	case !h.Anonymous && h.directory.Len() == 0:
		return errors.New("nobody may call: add 'client <id> <sha256:…>' (caddy llm hash-key makes one), or say 'anonymous' to let anyone in")
	}
	return nil
}

// ServeHTTP admits the call and hands it on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	a := account{
		logger: h.logger,
		call:   &streaming.Call{Started: time.Now(), Outcome: streaming.OutcomeRefused},
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Map(a.placeholder)
	a.call.ID, _ = repl.GetString("http.request.uuid")
	defer a.settle(r)

	if refusal := h.admit(&a, w, r); refusal != nil {
		return refusal.write(w, a.call)
	}
	r = r.WithContext(streaming.WithCall(r.Context(), a.call))
	r.Body, r.ContentLength = http.NoBody, 0
	hideCredentials(r)
	a.call.Outcome = ""
	err := next.ServeHTTP(w, r)
	if err != nil && a.call.Outcome == "" {
		a.call.Outcome = streaming.OutcomeError
	}
	return err
}

// hideCredentials takes the client's credentials out of the request. Nothing
// behind us needs them, and reverse_proxy logs the request it was given.
func hideCredentials(r *http.Request) {
	wire.StripCredentials(r.Header)
	if stripped := wire.StripKey(r.URL); stripped != r.URL {
		r.URL, r.RequestURI = stripped, stripped.RequestURI()
	}
}

// admit finds out all that must be known of the call before it is handed on.
// The cheap questions come first: a caller without a key costs no body.
func (h *Handler) admit(a *account, w http.ResponseWriter, r *http.Request) *refusal {
	request, err := wire.Recognize(r.Method, r.URL, r.Header)
	if err != nil {
		return refuse(http.StatusNotFound, "unknown_path", "no API is known under this path; the OpenAI, Anthropic and Gemini APIs are, such as /v1/chat/completions")
	}
	a.call.Request = request

	client, ok := h.authenticate(r)
	if !ok {
		return unauthorized()
	}
	if client != nil {
		a.client = client.ID
	}

	if refused := h.readBody(w, r, a.call); refused != nil {
		return refused
	}
	if err := request.ReadBody(r.Header.Get("Content-Type"), a.call.Body); err != nil {
		return refuseRequest(err)
	}
	return nil
}

// authenticate returns the client whose secret the request carries. It
// returns no client, and true, where anyone may call.
func (h *Handler) authenticate(r *http.Request) (*auth.Client, bool) {
	if h.Anonymous {
		return nil, true
	}
	for secret := range wire.Credentials(r.Header, r.URL) {
		if client, ok := h.directory.Find(secret); ok {
			return client, true
		}
	}
	return nil, false
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
