// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Rates are prices by unit. The zero value has none.
type Rates struct {
	// each is the price of one unit, in millionths of billionths of a US
	// dollar. In these, a dollar for a million tokens is a round number.
	each  [unitCount]int64
	known uint32
}

const (
	// perDollar is how many of what Rates count are a dollar.
	perDollar = 1e15
	// maxPrice bounds the price of one unit, in dollars, so that sums cannot
	// overflow.
	maxPrice = 1000
)

// Set states the price of one unit in US dollars. A price may be nothing.
func (r *Rates) Set(u Unit, dollars float64) error {
	if !(dollars >= 0 && dollars <= maxPrice) {
		return fmt.Errorf("%s: not a price: %v", u, dollars)
	}
	r.each[u] = int64(math.Round(dollars * perDollar))
	r.known |= 1 << u
	return nil
}

// empty tells whether no price is stated.
func (r *Rates) empty() bool { return r.known == 0 }

// flat tells whether every call costs the same, or nothing, whatever it takes.
func (r *Rates) flat() bool {
	taken := r.each
	taken[unitRequest] = 0
	return r.known != 0 && taken == [unitCount]int64{}
}

// of returns the price of one unit. A unit without a price of its own has that
// of the one it is like.
func (r *Rates) of(u Unit) (each int64, known bool) {
	for r.known&(1<<u) == 0 {
		if like[u] == u {
			return 0, false
		}
		u = like[u]
	}
	return r.each[u], true
}

// overlay takes the prices that others states.
func (r *Rates) overlay(other Rates) {
	for u := range unitCount {
		if other.known&(1<<u) != 0 {
			r.each[u] = other.each[u]
		}
	}
	r.known |= other.known
}

// Price is what a model costs.
type Price struct {
	Rates
	// Tiers are other prices, for some calls.
	Tiers []Tier
}

// Tier is prices that hold for some calls in the place of the ordinary ones.
type Tier struct {
	// Above is the number of input tokens beyond which they hold, for the
	// whole of the call; 0 is any number.
	Above int64
	// Service is the tier of service for which they hold: batch, flex,
	// priority or another that the provider names. Empty is any.
	Service string
	Rates
}

// order sorts the tiers so that each one may overlay those before it: those of
// a tier of service come last, and of others the higher ones.
func (p *Price) order() {
	slices.SortStableFunc(p.Tiers, func(a, b Tier) int {
		if (a.Service == "") != (b.Service == "") {
			if a.Service == "" {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Above, b.Above)
	})
}

// rates returns the prices for a call that reads so much at a tier of service.
func (p *Price) rates(input int64, service string) Rates {
	rates := p.Rates
	for _, tier := range p.Tiers {
		if (tier.Above == 0 || input > tier.Above) && (tier.Service == "" || tier.Service == service) {
			rates.overlay(tier.Rates)
		}
	}
	return rates
}
