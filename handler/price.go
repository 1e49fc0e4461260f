// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
	"github.com/seed83435595/caddy-llm-proxy/handler/pricing"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Price is what some models cost.
type Price struct {
	// Match is a pattern of the model's names, in which an asterisk stands for
	// any text: what the provider is asked for, or what it says has answered.
	// With a provider's name and a slash before it, it is for the models of
	// that provider, and comes before prices without. Pictures are also known by
	// their size, and by their quality and size: hd/1024-x-1792/dall-e-3.
	Match string `json:"match"`

	PriceRates

	// Tiers are prices that hold for some calls in the place of these.
	Tiers []*PriceTier `json:"tiers,omitempty"`

	line syntax.Line
}

// PriceRates are prices by what is paid for.
type PriceRates struct {
	// USD are US dollars: for a million tokens of input, output, cache_read,
	// cache_write, cache_write_1h, reasoning, audio_input, audio_output,
	// audio_cache_read, image_input and image_output; for a million of
	// character and pixel; for each image, request, second, search and page.
	// Kinds of tokens that have no price cost what others of input or output
	// do.
	USD map[string]float64 `json:"usd"`
}

// PriceTier is prices that hold for some calls.
type PriceTier struct {
	// Above is the number of input tokens beyond which they hold, for the
	// whole of the call. Default: any number.
	Above int64 `json:"above,omitempty"`

	// Service is the tier of service for which they hold: batch, flex or
	// priority. Default: any.
	Service string `json:"service,omitempty"`

	PriceRates
}

// maxPricesFile bounds the file of prices, in bytes. LiteLLM's has 2 MB.
const maxPricesFile = 64 << 20

// openPrices makes the table of prices, and watches the file if there is one.
func (h *Handler) openPrices() error {
	rows, err := rowsOf(h.Prices)
	if err != nil {
		return err
	}
	h.prices.Store(pricing.NewTable(rows, nil))
	if h.PricesFile == "" {
		return nil
	}
	take := func(text []byte) ([]zap.Field, error) {
		list, senseless, err := pricing.ParseLiteLLM(text)
		if err != nil {
			return nil, err
		}
		h.prices.Store(pricing.NewTable(rows, list))
		return []zap.Field{zap.Int("models", len(list)), zap.Strings("without_sense", senseless)}, nil
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(h.PricesFile, true, true)
	if err != nil {
		return fmt.Errorf("prices file: %w", err)
	}
	h.pricesFile = &filewatch.File{Path: path, Holds: "prices", Most: maxPricesFile, Take: take}
	return h.pricesFile.Open(h.logger)
}

func isCost(l *Limit) bool { return l != nil && l.Kind == limits.Cost.String() }

// limitsCost tells whether a group has limits in money, or a client: of the
// config, or one of more.
func (who *Callers) limitsCost(more []*Client) bool {
	hasCost := func(c *Client) bool { return c != nil && slices.ContainsFunc(c.Limits, isCost) }
	return slices.ContainsFunc(who.Groups, func(g *Group) bool { return g != nil && slices.ContainsFunc(g.Limits, isCost) }) ||
		slices.ContainsFunc(who.Clients, hasCost) || slices.ContainsFunc(more, hasCost)
}

// checkPrices warns of limits in money that have no prices to go by.
func (h *Handler) checkPrices() {
	costs := h.costLimited.Load() || slices.ContainsFunc(h.UserLimits, isCost)
	if costs && h.prices.Load().Empty() {
		h.logger.Warn("there are limits of cost but no prices: only what providers state themselves will count")
	}
}

// rowsOf makes prices ready.
func rowsOf(prices []*Price) ([]pricing.Row, error) {
	rows := make([]pricing.Row, 0, len(prices))
	for i, p := range prices {
		if p == nil || p.Match == "" {
			return nil, fmt.Errorf("price %d: names no models; an asterisk stands for all", i+1)
		}
		row, err := p.row()
		if err != nil {
			return nil, p.line.Wrap(fmt.Errorf("price %s: %w", p.Match, err))
		}
		if before := slices.IndexFunc(rows, row.IsBehind); before >= 0 {
			return nil, p.line.Wrap(fmt.Errorf("price %s: never holds: the one for %s above it takes the same models; put the narrower pattern first", p.Match, rows[before].Match))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (p *Price) row() (pricing.Row, error) {
	row := pricing.Row{Match: p.Match}
	var err error
	if row.Rates, err = p.rates(); err != nil {
		return row, err
	}
	for _, t := range p.Tiers {
		if t == nil || t.Above < 0 || t.Above == 0 && t.Service == "" {
			return row, errors.New("a tier needs a number of tokens above which it holds, or a tier of service")
		}
		rates, err := t.rates()
		if err != nil {
			return row, err
		}
		row.Tiers = append(row.Tiers, pricing.Tier{Above: t.Above, Service: t.Service, Rates: rates})
	}
	return row, nil
}

func (p *PriceRates) rates() (rates pricing.Rates, err error) {
	if len(p.USD) == 0 {
		return rates, errors.New("no price is given; what is free costs 0")
	}
	for name, dollars := range p.USD {
		unit, ok := pricing.ParseUnit(name)
		if !ok {
			return rates, fmt.Errorf("there is no price of %s", name)
		}
		if unit.PerMillion() {
			dollars /= 1e6
		}
		if rates.Set(unit, dollars) != nil {
			return rates, fmt.Errorf("%s: not a price in US dollars: %v", name, p.USD[name])
		}
	}
	return rates, nil
}

func (h *Handler) parsePrice(d *caddyfile.Dispenser) error {
	p := &Price{line: syntax.At(d)}
	if !d.AllArgs(&p.Match) {
		return d.Err("price: wants one pattern of models, such as 'price gpt-4o*' or 'price openai/gpt-4o*'")
	}
	if slices.ContainsFunc(h.Prices, func(other *Price) bool { return other.Match == p.Match }) {
		return d.Errf("price %s: already specified", p.Match)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.parseOption(d); err != nil {
			return err
		}
	}
	if _, err := p.row(); err != nil {
		return d.Errf("price %s: %v", p.Match, err)
	}
	h.Prices = append(h.Prices, p)
	return nil
}

func (p *Price) parseOption(d *caddyfile.Dispenser) error {
	option, tier := d.Val(), new(PriceTier)
	switch option {
	case "above":
		var text string
		if !d.AllArgs(&text) {
			return d.ArgErr()
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return d.Errf("above: not a number of tokens: %s", text)
		}
		tier.Above = n
	case "batch", "flex", "priority":
		tier.Service = option
		if d.NextArg() {
			return d.ArgErr()
		}
	default:
		return p.parseRate(d, "above", "batch", "flex", "priority")
	}
	if slices.ContainsFunc(p.Tiers, func(t *PriceTier) bool { return t.Above == tier.Above && t.Service == tier.Service }) {
		return d.Errf("%s: already specified", option)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := tier.parseRate(d); err != nil {
			return err
		}
	}
	p.Tiers = append(p.Tiers, tier)
	return nil
}

// parseRate parses the price of one thing. beside is what else may stand there.
func (p *PriceRates) parseRate(d *caddyfile.Dispenser, beside ...string) error {
	name := d.Val()
	if _, ok := pricing.ParseUnit(name); !ok {
		return syntax.Unknown(d, "price", name, slices.Concat(pricing.Units(), beside)...)
	}
	if _, twice := p.USD[name]; twice {
		return d.Errf("%s: already specified", name)
	}
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	dollars, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return d.Errf("%s: not a price in US dollars: %s", name, text)
	}
	if p.USD == nil {
		p.USD = map[string]float64{}
	}
	p.USD[name] = dollars
	return nil
}

// WarnOfPrices tells of those that can hold for no call, while a Caddyfile is
// parsed. What may stand before a slash is for mayBegin to say.
func (h *Handler) WarnOfPrices(mayBegin func(prefix string) bool) {
	for _, p := range h.Prices {
		if prefix, _, found := strings.Cut(p.Match, "/"); found && !strings.Contains(prefix, "*") && !mayBegin(prefix) {
			p.line.Warn("price %s: there is no provider %s, so it holds for no call", p.Match, prefix)
		}
	}
}

func (h *Handler) parsePrices(d *caddyfile.Dispenser) error {
	if h.PricesFile != "" {
		return d.Err("prices: already specified")
	}
	if !d.AllArgs(&h.PricesFile) {
		return d.Err("prices: wants one file")
	}
	return nil
}
