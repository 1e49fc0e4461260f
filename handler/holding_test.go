// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
)

// What holds for a client is what it says itself and, where it says nothing,
// what its groups and the block say. What is only counted is no limit.
func TestHolding(t *testing.T) {
	own := Limit{Kind: "cost", Amount: 2.5, Per: "month", TimeZone: "Europe/Berlin", Models: []string{"o3*"}}
	window := Limit{Kind: "tokens", Amount: 1000, Window: caddy.Duration(90 * time.Second)}
	each, shared := Limit{Kind: "concurrent", Amount: 4}, Limit{Kind: "requests", Amount: 9, Per: "day"}
	eachMember := each
	eachMember.Each = true
	h := newHandler(t, &Handler{
		Callers: Callers{
			ClientsStore: "storage",
			Groups:       []*Group{{Name: t.Name(), Models: []string{"gpt-*"}, Providers: []string{"openai"}, Limits: []*Limit{&eachMember, &shared}}},
		},
		UserLimits:    []*Limit{&window},
		UsageEndpoint: "/llm/usage",
	})
	h.managed.begin()
	put := func(id, more string) {
		t.Helper()
		entry := managedEntry(id, "key-"+id, more)
		if err := h.managed.lease.Change(t.Context(), id, func([]byte) ([]byte, error) { return entry.Text, nil }); err != nil {
			t.Fatal(err)
		}
	}
	put("free", "")
	put("member", `,"groups":["`+t.Name()+`"]`)
	put("own", `,"groups":["`+t.Name()+`"],"models":["o3"],"limits":[{"kind":"cost","amount":2.5,"per":"month","time_zone":"Europe/Berlin","models":["o3*"]}]`)
	ofGroup := HeldLimit{Limit: shared, Group: t.Name()}
	for id, want := range map[string][]Holding{
		"free":   {{Limits: []HeldLimit{{Limit: window}}}},
		"member": {{Models: []string{"gpt-*"}, Providers: []string{"openai"}, Limits: []HeldLimit{{Limit: each}, {Limit: window}, ofGroup}}},
		"own":    {{Models: []string{"o3"}, Providers: []string{"openai"}, Limits: []HeldLimit{{Limit: own}, {Limit: each}, {Limit: window}, ofGroup}}},
		"nobody": nil,
	} {
		if got := HoldingsOf(h.managed.lease.Roster, id); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", id, got, want)
		}
	}
	h.managed.Take([]roster.Change{managedEntry("free", "key-member", "")})
	if got := HoldingsOf(h.managed.lease.Roster, "free"); got != nil {
		t.Errorf("of a client that is not admitted: %+v", got)
	}
}
