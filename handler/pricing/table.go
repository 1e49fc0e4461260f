// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Table is the prices of models. Make one with [NewTable]; it is not changed
// after that, and safe for concurrent use. A nil table knows no prices.
type Table struct {
	rows []Row
	list List
}

// Row is the price of the models that match a pattern, in which an asterisk
// stands for any text. If a provider's name and a slash stand before it, it is
// for the models of that provider.
type Row struct {
	Match string
	Price
}

// IsBehind tells whether the row never holds where another stands above it,
// since that matches all that it does, of the same provider or of any.
func (r Row) IsBehind(above Row) bool {
	provider, _, named := strings.Cut(r.Match, "/")
	other, _, named2 := strings.Cut(above.Match, "/")
	return named == named2 && (!named || provider == other) && keypool.Matches(above.Match, r.Match)
}

// List is prices by the exact names of models.
type List map[string]*Price

// NewTable returns a table of rows, and of a list that is asked where no row
// matches. Of the rows that match, those with the provider's name come first,
// then those that stand above others.
func NewTable(rows []Row, list List) *Table {
	for i := range rows {
		rows[i].order()
	}
	for _, price := range list {
		price.order()
	}
	return &Table{rows: rows, list: list}
}

// Empty tells whether the table has no prices at all.
func (t *Table) Empty() bool { return t == nil || len(t.rows) == 0 && len(t.list) == 0 }

// find returns the price that holds for a call; nil if there is none.
func (t *Table) find(c Call) *Price {
	if t == nil {
		return nil
	}
	names := []string{c.Model}
	if c.Answered != c.Model && c.Answered != "" {
		names = append(names, c.Answered)
	}
	if c.Usage.Images > 0 {
		names = append(names, pictureNames(c.Model, c.Order)...)
	}
	own := c.Provider + "/"
	if price := t.match(names, func(pattern string) (string, bool) { return strings.CutPrefix(pattern, own) }); price != nil {
		return price
	}
	if price := t.match(names, func(pattern string) (string, bool) { return pattern, true }); price != nil {
		return price
	}
	return t.list.find(c, names)
}

// guess returns a price for a model of which it is not known yet which
// provider will serve it. One that is for a provider alone comes last.
func (t *Table) guess(model string) *Price {
	if t == nil || model == "" {
		return nil
	}
	names := []string{model}
	if price := t.match(names, func(pattern string) (string, bool) { return pattern, true }); price != nil {
		return price
	}
	if price := t.list.find(Call{}, names); price != nil {
		return price
	}
	return t.match(names, func(pattern string) (string, bool) {
		_, rest, found := strings.Cut(pattern, "/")
		return rest, found
	})
}

// match returns the price of the first row whose pattern, or what part takes
// of it, matches one of the names.
func (t *Table) match(names []string, part func(pattern string) (string, bool)) *Price {
	for i := range t.rows {
		pattern, ok := part(t.rows[i].Match)
		if !ok {
			continue
		}
		for _, name := range names {
			if keypool.Matches(pattern, name) {
				return &t.rows[i].Price
			}
		}
	}
	return nil
}
