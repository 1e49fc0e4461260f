// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler is a simulated LLM provider: it answers the APIs of OpenAI,
// Anthropic and Gemini with made-up text, and fails on demand. Use it to try
// a gateway, to rehearse failures, and to measure.
//
// GET /simulator/stats tells how often each key and model was asked.
type Handler struct {
	// FirstToken is the time before the first chunk of an answer.
	// Default: none.
	FirstToken caddy.Duration `json:"first_token,omitempty"`

	// Delay is the time between the chunks of a stream. Default: none.
	Delay caddy.Duration `json:"delay,omitempty"`

	// Chunks is how many chunks of text an answer has. Default: 20.
	Chunks int `json:"chunks,omitempty"`

	// ChunkSize is how many bytes each chunk has. Default: one word, of its
	// own length.
	ChunkSize int `json:"chunk_size,omitempty"`

	// Models are the models that are listed. Others are answered, too.
	// Default: a few well-known ones.
	Models []string `json:"models,omitempty"`

	// Keys are the keys that are known; any other is rejected.
	// Default: every key is good.
	Keys []KeyConfig `json:"keys,omitempty"`

	// Rules are what is different for some models. The first that matches
	// counts.
	Rules []RuleConfig `json:"rules,omitempty"`

	// Fault strikes every call that no key's or rule's fault strikes. It is
	// written as in a Caddyfile, such as "rate_limited 30s".
	Fault string `json:"fault,omitempty"`

	simulator *Simulator
}

// KeyConfig is a key that the simulator knows.
type KeyConfig struct {
	// Secret is the key. It protects nothing; choose one that is not real.
	// Placeholders such as {env.SIM_KEY} are evaluated when the config is
	// loaded.
	Secret string `json:"secret"`

	// Fault strikes every call with this key. Default: none.
	Fault string `json:"fault,omitempty"`
}

// RuleConfig is how the models that match are answered.
type RuleConfig struct {
	// Match is a pattern; an asterisk stands for any text without a slash.
	Match string `json:"match"`

	// Fault strikes every call for these models. Default: none.
	Fault string `json:"fault,omitempty"`

	// FirstToken is as for the simulator. Default: what is set there.
	FirstToken caddy.Duration `json:"first_token,omitempty"`

	// Delay is as for the simulator. Default: what is set there.
	Delay caddy.Duration `json:"delay,omitempty"`

	// Chunks is as for the simulator. Default: what is set there.
	Chunks int `json:"chunks,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_simulator",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision makes the simulator.
func (h *Handler) Provision(caddy.Context) error {
	opts := Options{
		FirstToken: time.Duration(h.FirstToken),
		Delay:      time.Duration(h.Delay),
		Chunks:     h.Chunks,
		ChunkSize:  h.ChunkSize,
		Models:     h.Models,
	}
	var err error
	if opts.Fault, err = parseFault(h.Fault); err != nil {
		return err
	}
	for i, key := range h.Keys {
		fault, err := parseFault(key.Fault)
		if err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		secret, err := caddy.NewReplacer().ReplaceOrErr(key.Secret, true, true)
		if err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		if secret == "" {
			return fmt.Errorf("key %d: a secret is needed", i+1)
		}
		if slices.ContainsFunc(opts.Keys, func(other Key) bool { return other.Secret == secret }) {
			return fmt.Errorf("key %d: already specified", i+1)
		}
		opts.Keys = append(opts.Keys, Key{Secret: secret, Fault: fault})
	}
	for _, rule := range h.Rules {
		fault, err := parseFault(rule.Fault)
		if err != nil {
			return fmt.Errorf("model %q: %w", rule.Match, err)
		}
		opts.Rules = append(opts.Rules, Rule{
			Match:      rule.Match,
			Fault:      fault,
			FirstToken: time.Duration(rule.FirstToken),
			Delay:      time.Duration(rule.Delay),
			Chunks:     rule.Chunks,
		})
	}
	h.simulator = New(opts)
	return nil
}

// Validate checks what a config in JSON may hold and a Caddyfile may not.
func (h *Handler) Validate() error {
	if err := checkPace(h.FirstToken, h.Delay, h.Chunks); err != nil {
		return err
	}
	if !validCount(h.ChunkSize) {
		return fmt.Errorf("chunk_size: not a number from 0 to %d: %d", maxCount, h.ChunkSize)
	}
	for _, rule := range h.Rules {
		if _, err := path.Match(rule.Match, ""); err != nil || rule.Match == "" {
			return fmt.Errorf("model: not a pattern: %q", rule.Match)
		}
		if err := checkPace(rule.FirstToken, rule.Delay, rule.Chunks); err != nil {
			return fmt.Errorf("model %q: %w", rule.Match, err)
		}
	}
	return nil
}

// maxCount is the most chunks of an answer, and the most bytes of a chunk.
const maxCount = 1_000_000

func validCount(n int) bool { return n >= 0 && n <= maxCount }

func checkPace(firstToken, delay caddy.Duration, chunks int) error {
	if firstToken < 0 || delay < 0 {
		return fmt.Errorf("first_token, delay: a duration is negative")
	}
	if !validCount(chunks) {
		return fmt.Errorf("chunks: not a number from 0 to %d: %d", maxCount, chunks)
	}
	return nil
}

// parseFault reads a fault as configs spell it; none if it is empty.
func parseFault(text string) (Fault, error) {
	if text == "" {
		return Fault{}, nil
	}
	return ParseFault(strings.Fields(text))
}

// ServeHTTP answers one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h.simulator.ServeHTTP(w, r)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
