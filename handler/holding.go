// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"reflect"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
)

// Holding is what holds for a managed client in a block: what it says itself,
// and where it says nothing, what its groups and the block do.
type Holding struct {
	// Models are patterns of the models that it may use. Default: all.
	Models []string `json:"models,omitempty"`

	// Providers are patterns of the providers that may serve it. Default: all.
	Providers []string `json:"providers,omitempty"`

	// Limits are how much it may use, all of them at once. Default: any amount.
	Limits []HeldLimit `json:"limits,omitempty"`
}

// HeldLimit is a limit that holds for a client.
type HeldLimit struct {
	Limit

	// Group is whose members all share the limit. Default: it is the client's
	// alone.
	Group string `json:"group,omitempty"`
}

// String spells the limit as in a Caddyfile, and says who shares it.
func (l *HeldLimit) String() string {
	if l.Group == "" {
		return l.Limit.String()
	}
	return l.Limit.String() + ", shared by group " + l.Group
}

// HoldingsOf returns what holds for a managed client in the blocks that admit
// it: as a rule the same in all, else each of it once.
func HoldingsOf(store *roster.Roster, id string) []Holding {
	var all []Holding
	for _, member := range store.InForce() {
		block, ok := member.(*managed)
		if !ok || block.Trouble(id) != "" {
			continue
		}
		holding, known := block.who.holding(id)
		if known && !slices.ContainsFunc(all, func(other Holding) bool { return reflect.DeepEqual(other, holding) }) {
			all = append(all, holding)
		}
	}
	return all
}

func (who *Callers) holding(id string) (holding Holding, known bool) {
	client, known := who.directory.Load().Named(id)
	if !known {
		return holding, false
	}
	holding.Models, holding.Providers = client.Models, client.Providers
	for _, subject := range client.Limits {
		for i := range subject.Rules {
			rule := &subject.Rules[i]
			if rule.Tally {
				continue
			}
			held := HeldLimit{Limit: limitOf(rule)}
			if subject.Group {
				held.Group = subject.Name
			}
			holding.Limits = append(holding.Limits, held)
		}
	}
	return holding, true
}

// limitOf returns the limit that a rule was made of.
func limitOf(rule *limits.Rule) Limit {
	limit := Limit{
		Kind: rule.Kind.String(), Amount: inUnits(rule.Kind, rule.Amount), Models: rule.Models,
		Window: caddy.Duration(rule.Period.Window),
	}
	if rule.Period.Calendar != 0 {
		limit.Per = rule.Period.String()
	}
	if zone := rule.Period.Zone; zone != nil && zone.String() != "UTC" {
		limit.TimeZone = zone.String()
	}
	return limit
}
