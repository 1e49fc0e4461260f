// SPDX-License-Identifier: Apache-2.0

package handler

import "testing"

// Wherever a limit in money stands, it is known that there is one.
func TestLimitsOfCostAreFound(t *testing.T) {
	cost, requests := []*Limit{nil, {Kind: "cost"}}, []*Limit{nil, {Kind: "requests"}}
	for name, c := range map[string]struct {
		who  *Callers
		want bool
	}{
		"none":                {&Callers{Clients: []*Client{nil}, Groups: []*Group{nil}}, false},
		"for a client":        {&Callers{Clients: []*Client{nil, {Limits: cost}}}, true},
		"for a group":         {&Callers{Groups: []*Group{nil, {Limits: cost}}}, true},
		"of something else":   {&Callers{Clients: []*Client{{Limits: requests}}, Groups: []*Group{{Limits: requests}}}, false},
		"beside another kind": {&Callers{Clients: []*Client{{Limits: requests}, {Limits: cost}}}, true},
	} {
		if got := c.who.limitsCost(nil); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
