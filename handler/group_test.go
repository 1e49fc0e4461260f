// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

// inGroups returns a handler with two clients in the groups "<test>" and, the
// first of them, "few". The key of the second is secret + "2".
func inGroups(t *testing.T, shared, few []*Limit) *Handler {
	one, two := newClient(t), newClient(t)
	one.Groups = []string{t.Name(), "few"}
	two.ID, two.Groups, two.Secrets = t.Name()+"-2", []string{t.Name()}, []string{auth.HashSecret(secret + "2").String()}
	return newHandler(t, &Handler{
		Callers: Callers{
			Clients: []*Client{one, two},
			Groups:  []*Group{{Name: t.Name(), Models: []string{"gpt-*"}, Limits: shared}, {Name: "few", Models: []string{"o3"}, Limits: few}},
		},
	})
}

func ofSecond(model string) *http.Request {
	return request("/v1/chat/completions", `{"model":"`+model+`"}`, "Authorization", "Bearer "+secret+"2")
}

// What a group may use its members share; the refusal says whose limit it is.
func TestLimitOfAGroup(t *testing.T) {
	h := inGroups(t, []*Limit{{Kind: "requests", Amount: 2, Per: "day"}}, nil)
	checkPassed(t, h, request("/v1/chat/completions", chat))
	checkPassed(t, h, ofSecond("gpt-4o"))
	w, passed, _ := serve(h, request("/v1/chat/completions", chat))
	if passed || w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "quota used up (requests per day of group "+t.Name()+")") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if left := w.Header().Get("X-Ratelimit-Remaining-Requests"); left != "0" {
		t.Errorf("%q requests are said to be left", left)
	}
	checkRefused(t, h, ofSecond("gpt-4o"), http.StatusTooManyRequests, "user_quota_exceeded")
}

// A limit of each member is each one's own.
func TestLimitOfEachMember(t *testing.T) {
	h := inGroups(t, []*Limit{{Kind: "requests", Amount: 1, Per: "day", Each: true}}, nil)
	checkPassed(t, h, request("/v1/chat/completions", chat))
	checkPassed(t, h, ofSecond("gpt-4o"))
	checkRefused(t, h, request("/v1/chat/completions", chat), http.StatusTooManyRequests, "user_quota_exceeded")
}

// A client without models of its own may use those of all its groups.
func TestModelsOfGroups(t *testing.T) {
	h := inGroups(t, nil, nil)
	checkPassed(t, h, request("/v1/chat/completions", chat))
	checkPassed(t, h, request("/v1/chat/completions", `{"model":"o3"}`))
	checkRefused(t, h, request("/v1/chat/completions", `{"model":"o1"}`), http.StatusForbidden, "model_not_allowed")
	checkRefused(t, h, ofSecond("o3"), http.StatusForbidden, "model_not_allowed")
}

// A limit about models counts the calls of these models apart.
func TestLimitAboutModels(t *testing.T) {
	h := limited(t, &Limit{Kind: "requests", Amount: 1, Per: "day", Models: []string{"o3*", "o4"}}, &Limit{Kind: "requests", Amount: 3, Per: "day"})
	checkPassed(t, h, request("/v1/chat/completions", `{"model":"o3-mini"}`))
	w, passed, _ := serve(h, request("/v1/chat/completions", `{"model":"o4"}`))
	if passed || w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "quota used up (requests per day for o3*, o4)") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	checkRefused(t, h, request("/v1/chat/completions", `{"model":"gpt-4o","models":["o4"]}`), http.StatusTooManyRequests, "user_quota_exceeded")
	// What was refused is not counted by the limit of all models either.
	checkPassed(t, h, request("/v1/chat/completions", chat))
	checkPassed(t, h, request("/v1/chat/completions", chat))
	checkRefused(t, h, request("/v1/chat/completions", chat), http.StatusTooManyRequests, "user_quota_exceeded")
}

// Of the limits of one kind a client's own comes first, then those of its
// groups in their order, then everybody's; those about models are another
// thing.
func TestWhoseLimitHolds(t *testing.T) {
	limit := func(kind string, amount float64, models ...string) *Limit {
		return &Limit{Kind: kind, Amount: amount, Per: "day", Models: models}
	}
	each := func(l *Limit) *Limit { l.Each = true; return l }
	c := newClient(t)
	c.Groups, c.Limits = []string{"a", "b"}, []*Limit{limit("tokens", 1, "o3")}
	h := newHandler(t, &Handler{
		Callers: Callers{
			Clients: []*Client{c},
			Groups: []*Group{
				{Name: "b", Limits: []*Limit{each(limit("tokens", 3)), each(limit("cost", 3)), limit("cost", 4)}},
				{Name: "a", Limits: []*Limit{each(limit("tokens", 2)), each(limit("tokens", 2, "o3"))}},
			},
		},
		UserLimits: []*Limit{limit("requests", 5), limit("cost", 5)},
	})
	client, _ := h.directory.Load().Named(c.ID)
	want := []string{"1 tokens for [o3]", "2 tokens for []", "3000000000 cost for []", "5 requests for []"}
	for i, rule := range client.Limits[0].Rules {
		if got := fmt.Sprintf("%d %s for %v", rule.Amount, rule.Kind, rule.Models); i >= len(want) || got != want[i] {
			t.Errorf("limit %d: %s", i, got)
		}
	}
	if len(client.Limits) != 2 || !client.Limits[1].Group || client.Limits[1].Name != "b" {
		t.Errorf("limits of %+v", client.Limits)
	}
}

// A client's group that does not exist would be a restriction that is not
// there.
func TestGroupsThatCannotBe(t *testing.T) {
	for name, h := range map[string]*Handler{
		"unknown":        {Callers: Callers{Clients: []*Client{{ID: "a", Groups: []string{"staf"}}}, Groups: []*Group{{Name: "staff"}}}},
		"twice":          {Callers: Callers{Groups: []*Group{{Name: "staff"}, {Name: "staff"}}}},
		"joined twice":   {Callers: Callers{Clients: []*Client{{ID: "a", Groups: []string{"staff", "staff"}}}, Groups: []*Group{{Name: "staff"}}}},
		"no name":        {Callers: Callers{Groups: []*Group{{}}}},
		"null":           {Callers: Callers{Groups: []*Group{nil}}},
		"null limit":     {Callers: Callers{Groups: []*Group{{Name: "staff", Limits: []*Limit{nil}}}}},
		"bad limit":      {Callers: Callers{Groups: []*Group{{Name: "staff", Limits: []*Limit{{Kind: "tokens", Amount: 1, Each: true}}}}}},
		"each, a client": {Callers: Callers{Clients: []*Client{{ID: "a", Limits: []*Limit{{Kind: "tokens", Amount: 1, Per: "day", Each: true}}}}}},
		"for anonymous":  {Callers: Callers{Groups: []*Group{{Name: "staff"}}}, Anonymous: true},
	} {
		h.TrustUser = new(TrustUser)
		if h.Anonymous {
			h.TrustUser = nil
		}
		err := h.Provision(newContext(t))
		if err == nil {
			err = h.Validate()
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := h.Cleanup(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A group whose name could be taken for several would give its members what
// others may.
func TestNamesOfGroupsThatAreLists(t *testing.T) {
	for _, name := range []string{"read staff", "read,staff", "read|staff", "staff ", ",", "a\u00a0b", ""} {
		who := &Callers{Groups: []*Group{{Name: name}}}
		if err := who.openGroups(); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	who := &Callers{Groups: []*Group{{Name: "read-staff"}, {Name: "/eng/ünit"}}}
	if err := who.openGroups(); err != nil {
		t.Error(err)
	}
}
