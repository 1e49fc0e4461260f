// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// ModelRoute sends the models that match a pattern to an ordered list of
// targets: the first serves the call, each next one is the fallback of those
// before it.
type ModelRoute struct {
	// Match is the model's name as clients ask for it. An asterisk stands for
	// any text, also none.
	Match string `json:"match"`

	// Targets are tried in order. A call goes only to those of its own API
	// family.
	Targets []Target `json:"targets"`

	// Split are the weights by which the first targets, as many as there are
	// weights, share the calls; each is the fallback of the others. The first
	// of them is the stable one, the others are canaries. All must be of one
	// API family. A canary with the weight 0 is only a fallback.
	// Default: none; the first target serves all calls.
	Split []int `json:"split,omitempty"`

	// Canary says when a canary of the split is withdrawn.
	Canary Canary `json:"canary,omitzero"`

	// ContextLength are asked in place of the others when the prompt is too
	// long for the model: models with a larger window. Default: none, the
	// client gets the provider's error.
	ContextLength []Target `json:"context_length,omitempty"`

	// ContentFilter are asked in place of the others when a filter of the
	// provider refuses the prompt: by an error, or by an answer that ends for
	// that reason and of which the client has got nothing yet. Default: none,
	// the client gets the provider's answer.
	ContentFilter []Target `json:"content_filter,omitempty"`

	line syntax.Line
}

// Target is a provider together with the model to ask it for.
type Target struct {
	// Provider is the provider's name.
	Provider string `json:"provider"`

	// Model is what the provider calls the model.
	// Default: what the client asked for.
	Model string `json:"model,omitempty"`
}

// String spells the target as in a Caddyfile.
func (t Target) String() string {
	if t.Model == "" {
		return t.Provider
	}
	return t.Provider + "/" + t.Model
}

// maxWeight keeps sums of weights exact.
const maxWeight = 1_000_000

// validate refuses what could never serve a call.
func (r *ModelRoute) validate() error {
	switch {
	case r.Match == "":
		return errors.New("a model pattern is needed; '*' stands for any model")
	case len(r.Targets) == 0:
		return errors.New("routed nowhere: name at least one provider")
	case slices.ContainsFunc(r.Targets, func(t Target) bool { return strings.HasSuffix(t.String(), ",") }):
		return errors.New("targets are divided by spaces, not by commas")
	case len(r.Split) == 0 && r.Canary != Canary{}:
		return errors.New("canary: there is none without a split")
	case len(r.Split) == 0:
		return nil
	case len(r.Split) == 1 || len(r.Split) > len(r.Targets):
		return fmt.Errorf("split: %d weights for %d targets; at least two are needed, each for a target", len(r.Split), len(r.Targets))
	case slices.Min(r.Split) < 0 || slices.Max(r.Split) > maxWeight:
		return fmt.Errorf("split: a weight is a whole number up to %d", maxWeight)
	case r.Split[0] == 0:
		return errors.New("split: the first weight must not be 0, as canaries are compared with the first target; to retire it, take it out")
	}
	for i, t := range r.Targets[:len(r.Split)] {
		if slices.Contains(r.Targets[:i], t) {
			return fmt.Errorf("split: %s has two shares", t)
		}
	}
	return r.Canary.validate()
}

// parse reads a line "model <pattern> <target>..." and its block.
func (r *ModelRoute) parse(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	r.Match, r.line = d.Val(), syntax.At(d)
	r.Targets = parseTargets(d)
	if len(r.Targets) == 0 {
		return d.Errf("model %s is routed nowhere: name at least one provider behind the pattern", r.Match)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := r.parseOption(d); err != nil {
			return err
		}
	}
	if err := r.validate(); err != nil {
		return r.line.Wrap(fmt.Errorf("model %s: %w", r.Match, err))
	}
	return nil
}

func (r *ModelRoute) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "split":
		return r.parseSplit(d)
	case "canary":
		return parseBlock(d, &r.Canary, r.Canary.parseOption)
	case "context_length":
		return parseTargetsOnce(d, &r.ContextLength)
	case "content_filter":
		return parseTargetsOnce(d, &r.ContentFilter)
	}
	return syntax.Unknown(d, "model "+r.Match, d.Val(), "split", "canary", "context_length", "content_filter")
}

func (r *ModelRoute) parseSplit(d *caddyfile.Dispenser) error {
	if r.Split != nil {
		return d.Err("split: already specified")
	}
	for _, arg := range d.RemainingArgs() {
		weight, err := syntax.WholeNumber(d, "split", arg)
		if err != nil {
			return err
		}
		r.Split = append(r.Split, weight)
	}
	if r.Split == nil {
		return d.ArgErr()
	}
	return nil
}

// parseTargetsOnce reads the targets of an option that may stand only once.
func parseTargetsOnce(d *caddyfile.Dispenser, into *[]Target) error {
	if *into != nil {
		return d.Errf("%s: already specified", d.Val())
	}
	if *into = parseTargets(d); *into == nil {
		return d.ArgErr()
	}
	return nil
}

// parseTargets reads targets, each a provider's name that may have a slash and
// a model behind it, to the end of the line.
func parseTargets(d *caddyfile.Dispenser) []Target {
	var targets []Target
	for _, arg := range d.RemainingArgs() {
		provider, model, _ := strings.Cut(arg, "/")
		targets = append(targets, Target{Provider: provider, Model: model})
	}
	return targets
}
