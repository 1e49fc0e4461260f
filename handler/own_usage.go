// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// defaultUsageEndpoint is where clients may ask, if the config says no more
// than that they may.
const defaultUsageEndpoint = "/llm/usage"

// ownTallies are counted of each client for it to ask, whatever its limits.
var ownTallies = func() (rules []limits.Rule) {
	for _, calendar := range []limits.Calendar{limits.Day, limits.Month} {
		for _, kind := range []limits.Kind{limits.Requests, limits.InputTokens, limits.OutputTokens, limits.Cost} {
			rules = append(rules, limits.Rule{Kind: kind, Period: limits.Period{Calendar: calendar}, Tally: true})
		}
	}
	return rules
}()

// ownUsage is what a client is told of itself.
type ownUsage struct {
	ID     string     `json:"id"`
	Groups []string   `json:"groups,omitempty"`
	Limits []ownLimit `json:"limits"`
	Usage  ownPeriods `json:"usage"`
}

// ownLimit is one of the client's limits, or of its groups'. Cost is in US
// dollars.
type ownLimit struct {
	Kind      string     `json:"kind"`
	Period    string     `json:"period,omitempty"`
	TimeZone  string     `json:"time_zone,omitempty"`
	Models    []string   `json:"models,omitempty"`
	Group     string     `json:"group,omitempty"`
	Amount    float64    `json:"amount"`
	Used      float64    `json:"used"`
	Remaining float64    `json:"remaining"`
	ResetsAt  *time.Time `json:"resets_at,omitempty"`
}

// ownPeriods is what the client has used in the day and in the month that it
// is, in UTC.
type ownPeriods struct {
	Day   map[string]float64 `json:"day"`
	Month map[string]float64 `json:"month"`
}

// serveOwnUsage answers a client that asks for its own limits and usage. It is
// no call: it counts for nothing.
func (h *Handler) serveOwnUsage(w http.ResponseWriter, r *http.Request) error {
	id := requestID(r)
	skipBody(w, r)
	w.Header().Set("Cache-Control", "no-store")
	now := time.Now()
	answer, refused := h.ownUsage(r, now)
	if refused != nil {
		metrics.Process.Refuse(refused.Code)
		family, _ := wire.Lookup("openai")
		return refused.write(w, family, id)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, err = w.Write(body)
	return err
}

func (h *Handler) ownUsage(r *http.Request, now time.Time) (*ownUsage, *refusal) {
	client, refused := h.authenticate(r, nil)
	if refused != nil {
		return nil, refused
	}
	if refused := h.mayCome(client, r, now); refused != nil {
		return nil, refused
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "usage can be asked for by GET only")
	}
	states, err := limits.States(r.Context(), h.counts, now, client.Limits)
	if err != nil {
		return nil, limitsUnavailable()
	}
	return newOwnUsage(client, states, now), nil
}

func newOwnUsage(client *auth.Client, states []limits.State, now time.Time) *ownUsage {
	u := &ownUsage{ID: client.ID, Groups: client.Groups, Limits: []ownLimit{}}
	u.Usage.Day, u.Usage.Month = map[string]float64{}, map[string]float64{}
	for _, state := range states {
		if rule := state.Rule; !rule.Tally {
			u.Limits = append(u.Limits, newOwnLimit(state, now))
		} else if rule.Period.Calendar == limits.Day {
			u.Usage.Day[rule.Kind.String()] = inUnits(rule.Kind, state.Used)
		} else {
			u.Usage.Month[rule.Kind.String()] = inUnits(rule.Kind, state.Used)
		}
	}
	return u
}

func newOwnLimit(state limits.State, now time.Time) ownLimit {
	rule := state.Rule
	l := ownLimit{
		Kind:      rule.Kind.String(),
		Models:    rule.Models,
		Amount:    inUnits(rule.Kind, rule.Amount),
		Used:      inUnits(rule.Kind, state.Used),
		Remaining: inUnits(rule.Kind, state.Remaining()),
	}
	if state.Subject.Group {
		l.Group = state.Subject.Name
	}
	if rule.Kind == limits.Concurrent {
		return l
	}
	l.Period = rule.Period.String()
	if rule.Period.Zone != nil {
		l.TimeZone = rule.Period.Zone.String()
	}
	if state.Reset > 0 {
		at := now.Add(state.Reset).UTC().Truncate(time.Second)
		l.ResetsAt = &at
	}
	return l
}

// inUnits returns an amount as configs state it.
func inUnits(kind limits.Kind, n int64) float64 {
	if kind == limits.Cost {
		return float64(n) / perDollar
	}
	return float64(n)
}

// parseUsageEndpoint parses "usage_endpoint [<path>]".
func (h *Handler) parseUsageEndpoint(d *caddyfile.Dispenser) error {
	if h.UsageEndpoint != "" {
		return d.Err("usage_endpoint: already specified")
	}
	h.UsageEndpoint = defaultUsageEndpoint
	if d.NextArg() {
		h.UsageEndpoint = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}
