// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Whoever has a limit in money, and wherever it is said: without prices,
// operators are warned that it holds little.
func TestLimitOfCostWantsPrices(t *testing.T) {
	cost := []*Limit{{Kind: "cost", Amount: 1, Per: "day"}}
	file := &clientsFile{t: t, path: filepath.Join(t.TempDir(), "clients.json")}
	file.write(`{"clients":[` + strings.Replace(entry("filed", "key"), "{", `{"limits":[{"kind":"cost","amount":1,"per":"day"}],`, 1) + `]}`)
	with := func(change func(h *Handler, c *Client)) *Handler {
		h := &Handler{Callers: Callers{Clients: []*Client{newClient(t)}}}
		change(h, h.Clients[0])
		return h
	}
	for name, test := range map[string]struct {
		handler *Handler
		warns   bool
	}{
		"none":                   {with(func(*Handler, *Client) {}), false},
		"every user's":           {with(func(h *Handler, _ *Client) { h.UserLimits = cost }), true},
		"a client's":             {with(func(_ *Handler, c *Client) { c.Limits = cost }), true},
		"a group's":              {with(func(h *Handler, _ *Client) { h.Groups = []*Group{{Name: "g", Limits: cost}} }), true},
		"a client's of the file": {with(func(h *Handler, _ *Client) { h.ClientsFile = file.path }), true},
		"with prices": {with(func(h *Handler, _ *Client) {
			h.UserLimits = cost
			h.Prices = []*Price{{Match: "*", PriceRates: PriceRates{USD: map[string]float64{"input": 1}}}}
		}), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, test.handler)
			core, logs := observer.New(zap.WarnLevel)
			h.logger = zap.New(core)
			h.checkPrices()
			if warned := logs.Len() > 0; warned != test.warns {
				t.Errorf("warned: %t", warned)
			}
		})
	}
}
