// SPDX-License-Identifier: Apache-2.0

package handler

import "testing"

// Wherever a limit in money stands, it is known that there is one.
func TestLimitsOfCostAreFound(t *testing.T) {
	cost, requests := []*Limit{nil, {Kind: "cost"}}, []*Limit{nil, {Kind: "requests"}}
	for name, c := range map[string]struct {
		h    *Handler
		want bool
	}{
		"none":                {&Handler{Clients: []*Client{nil}, Groups: []*Group{nil}}, false},
		"for all users":       {&Handler{UserLimits: cost}, true},
		"for a client":        {&Handler{Clients: []*Client{nil, {Limits: cost}}}, true},
		"for a group":         {&Handler{Groups: []*Group{nil, {Limits: cost}}}, true},
		"of something else":   {&Handler{UserLimits: requests, Clients: []*Client{{Limits: requests}}, Groups: []*Group{{Limits: requests}}}, false},
		"beside another kind": {&Handler{UserLimits: requests, Clients: []*Client{{Limits: requests}, {Limits: cost}}}, true},
	} {
		if got := c.h.limitsCost(nil); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
