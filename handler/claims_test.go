// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// watchLog returns what a handler logs from now on.
func watchLog(h *Handler) *observer.ObservedLogs {
	core, logs := observer.New(zapcore.DebugLevel)
	h.logger = zap.New(core)
	return logs
}

// all are claims that say everything.
var all = Claims{GroupsClaim: "realm_access.roles", ModelsClaim: `https://x\.y/models`, LimitsClaim: "limits"}

// A token names its client's groups, whose models and limits hold for it as if
// the config named them.
func TestGroupsOfAToken(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	claims := all
	claims.Membership = Membership{Groups: []string{t.Name()}, GroupNames: map[string]string{"/eng": "staff"}}
	h := newHandler(t, &Handler{Callers: Callers{
		JWT: []*JWT{issuer.jwt(claims)},
		Groups: []*Group{
			{Name: t.Name(), Limits: []*Limit{{Kind: "requests", Amount: 4, Per: "day"}}},
			{Name: "staff", Models: []string{"gpt-*"}, Limits: []*Limit{{Kind: "requests", Amount: 1, Per: "day", Each: true}}},
			{Name: "research", Models: []string{"o3"}},
		},
	}})
	logs := watchLog(h)
	in := func(subject, groups string) string {
		return issuer.sign(t.Name()+subject, `{"realm_access":{"roles":`+groups+`}}`)
	}
	one := in("one", `["/eng","offline_access"]`)
	checkPassed(t, h, bearing(one, chat))
	checkRefused(t, h, bearing(one, chat), http.StatusTooManyRequests, "user_quota_exceeded")
	two := in("two", `"research offline_access"`)
	checkRefused(t, h, bearing(two, chat), http.StatusForbidden, "model_not_allowed")
	checkPassed(t, h, bearing(two, `{"model":"o3"}`))
	// All of the issuer's are in one group, which is used up by now.
	checkPassed(t, h, bearing(issuer.sign(t.Name()+"three", ""), chat))
	w, _, _ := serve(h, bearing(issuer.sign(t.Name()+"four", ""), chat))
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "of group "+t.Name()) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	// Groups that there are not are said once.
	if said := logs.FilterMessageSnippet("group that there is not").FilterField(zap.String("group", "offline_access")).Len(); said != 1 {
		t.Errorf("an unknown group was said %d times", said)
	}
	for i := range 2 * maxTold {
		_, _, _ = serve(h, bearing(in("five", fmt.Sprintf(`["group-%d"]`, i)), chat))
	}
	if said := logs.FilterMessageSnippet("group that there is not").Len(); said != maxTold {
		t.Errorf("%d unknown groups were said", said)
	}
}

// A token narrows which models its client may use, whatever its groups or the
// config allow; it widens nothing.
func TestModelsOfAToken(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	h := newHandler(t, &Handler{Callers: Callers{
		JWT:     []*JWT{issuer.jwt(all)},
		Groups:  []*Group{{Name: "staff", Models: []string{"gpt-*"}}},
		Clients: []*Client{{ID: "known", Models: []string{"o3"}}},
	}})
	for _, test := range []struct {
		subject, claims, model string
		passes                 bool
	}{
		{"a", `{}`, "claude", true},
		{"a", `{"https://x.y/models":["gpt-4o*"]}`, "gpt-4o-mini", true},
		{"a", `{"https://x.y/models":["gpt-4o*"]}`, "o3", false},
		{"a", `{"https://x.y/models":"gpt-4o o3"}`, "o3", true},
		{"a", `{"https://x.y/models":[]}`, "gpt-4o", false},
		{"a", `{"https://x.y/models":null}`, "gpt-4o", true},
		{"a", `{"https://x.y/models":["*"],"realm_access":{"roles":["staff"]}}`, "o3", false},
		{"a", `{"https://x.y/models":["gpt-4o","o3"],"realm_access":{"roles":["staff"]}}`, "gpt-4o", true},
		{"a", `{"https://x.y/models":["gpt-4o","o3"],"realm_access":{"roles":["staff"]}}`, "gpt-5", false},
		{"known", `{"https://x.y/models":["*"]}`, "o3", true},
		{"known", `{"https://x.y/models":["*"]}`, "gpt-4o", false},
		{"known", `{"https://x.y/models":["gpt-4o"]}`, "o3", false},
		{"known", `{}`, "o3", true},
	} {
		token := issuer.sign(test.subject, test.claims)
		if r := bearing(token, `{"model":"`+test.model+`"}`); test.passes {
			checkPassed(t, h, r)
		} else {
			checkRefused(t, h, r, http.StatusForbidden, "model_not_allowed")
		}
	}
	// Nor is anything told of others, or taken without a name.
	token := issuer.sign("a", `{"https://x.y/models":["gpt-4o"]}`)
	checkRefused(t, h, request("/v1/images/generations", `{"prompt":"x"}`, "Authorization", "Bearer "+token), http.StatusForbidden, "model_not_allowed")
}

// A token states limits by names or as configs do. They hold before those of
// the groups and of everybody; a client that the config knows has its own.
func TestLimitsOfAToken(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	h := newHandler(t, &Handler{
		Callers:    Callers{JWT: []*JWT{issuer.jwt(all)}, Clients: []*Client{{ID: "known"}}},
		UserLimits: []*Limit{{Kind: "requests", Amount: 1, Per: "day"}},
	})
	for i, limits := range []string{`{"requests_per_minute":2}`, `[{"kind":"requests","amount":2,"window":"1m"}]`, `[{"kind":"requests","amount":2,"per":"month","time_zone":"Asia/Shanghai"}]`} {
		token := issuer.sign(fmt.Sprint(t.Name(), i), `{"limits":`+limits+`}`)
		checkPassed(t, h, bearing(token, chat))
		checkPassed(t, h, bearing(token, chat))
		checkRefused(t, h, bearing(token, chat), http.StatusTooManyRequests, "user_quota_exceeded")
	}
	// A new token goes on from the old one's count.
	more := issuer.sign(t.Name()+"0", `{"limits":{"requests_per_minute":3}}`)
	checkPassed(t, h, bearing(more, chat))
	checkRefused(t, h, bearing(more, chat), http.StatusTooManyRequests, "user_quota_exceeded")

	everything := issuer.sign("x", `{"limits":{"requests_per_second":1,"tokens_per_hour":2,"input_tokens_per_day":3,"output_tokens_per_month":4,"cost_per_month":0.5,"concurrent":5}}`)
	client, err := h.find(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rule := range client.Limits[0].Rules {
		got = append(got, fmt.Sprint(rule.Amount, " ", rule.Kind, " ", rule.Period))
	}
	want := []string{"5 concurrent 0s", "500000000 cost month", "3 input_tokens day", "4 output_tokens month", "1 requests 1s", "2 tokens 1h"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if client, err := h.find(t.Context(), issuer.sign("known", `{"limits":{"requests_per_day":100}}`)); err != nil || client.Limits[0].Rules[0].Amount != 1 {
		t.Errorf("a known client: %+v, %v", client, err)
	}
}

// A token whose claims cannot be understood lets nobody in, for what they were
// to forbid would be allowed. Why is in the log, once; and it is no guess.
func TestTokensWithBadClaims(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	h := newHandler(t, &Handler{Callers: Callers{
		JWT: []*JWT{issuer.jwt(all)}, Clients: []*Client{newClient(t)},
		AuthFailures: &AuthFailures{Limit: 1, Window: 1e9},
	}})
	logs := watchLog(h)
	for _, claims := range map[string]string{
		"limits, text":      `{"limits":"60 a minute"}`,
		"limits, number":    `{"limits":60}`,
		"limits, true":      `{"limits":true}`,
		"unknown kind":      `{"limits":{"calls_per_minute":60}}`,
		"unknown period":    `{"limits":{"requests_per_fortnight":60}}`,
		"no period":         `{"limits":{"requests":60}}`,
		"a period too many": `{"limits":{"concurrent_per_day":60}}`,
		"amount, text":      `{"limits":{"requests_per_minute":"60"}}`,
		"amount, null":      `{"limits":{"requests_per_minute":null}}`,
		"nothing":           `{"limits":{"requests_per_minute":0}}`,
		"less":              `{"limits":{"tokens_per_day":-1}}`,
		"absurd":            `{"limits":{"tokens_per_day":1e300}}`,
		"misspelled field":  `{"limits":[{"kind":"requests","amount":1,"pre":"day"}]}`,
		"null in the list":  `{"limits":[null]}`,
		"each":              `{"limits":[{"kind":"requests","amount":1,"per":"day","each":true}]}`,
		"zone":              `{"limits":[{"kind":"requests","amount":1,"per":"day","time_zone":"../etc/passwd"}]}`,
		"twice":             `{"limits":[{"kind":"requests","amount":1,"per":"day"},{"kind":"requests","amount":2,"per":"day"}]}`,
		"too many":          `{"limits":[` + strings.Repeat(`{"kind":"requests","amount":1,"per":"day"},`, maxClaimedLimits) + `{"kind":"tokens","amount":1,"per":"day"}]}`,
		"groups, number":    `{"realm_access":{"roles":[1]}}`,
		"groups, object":    `{"realm_access":{"roles":{"staff":true}}}`,
		"models, object":    `{"https://x.y/models":{"allow":"*"}}`,
		"nobody":            `{"sub":null}`,
		"id, empty":         `{"sub":""}`,
		"id, control":       `{"sub":"a\nb"}`,
		"id, long":          `{"sub":"` + strings.Repeat("a", 300) + `"}`,
	} {
		subject := t.Name()
		if strings.Contains(claims, `"sub"`) {
			subject = ""
		}
		for range 2 {
			checkRefused(t, h, bearing(issuer.sign(subject, claims), chat), http.StatusUnauthorized, "invalid_api_key")
		}
	}
	said := map[string]int{}
	for _, entry := range logs.FilterLevelExact(zapcore.WarnLevel).All() {
		said[fmt.Sprint(entry.ContextMap()["error"])]++
	}
	for cause, times := range said {
		if times != 1 || !strings.Contains(cause, errBadClaims.Error()) {
			t.Errorf("%s: said %d times", cause, times)
		}
	}
	if len(said) < 15 {
		t.Errorf("only %d causes are said: %v", len(said), said)
	}
	checkPassed(t, h, request("/v1/chat/completions", chat))
}

// Tokens of several issuers are each judged by their own; the clients of one
// with a prefix are not those of another.
func TestSeveralIssuers(t *testing.T) {
	own, partner := newIssuer(t, "https://id.example"), newIssuer(t, "https://partner.example")
	narrow := own.jwt(Claims{Membership: Membership{Groups: []string{"other"}}})
	narrow.Audience = []string{"other-api"}
	h := newHandler(t, &Handler{Callers: Callers{
		JWT:     []*JWT{narrow, own.jwt(Claims{}), partner.jwt(Claims{IDPrefix: "partner/"})},
		Groups:  []*Group{{Name: "other"}},
		Clients: []*Client{{ID: "alice", Models: []string{"gpt-4o"}}},
	}})
	for token, want := range map[string]string{own.sign("alice", ""): "alice", partner.sign("alice", ""): "partner/alice"} {
		client, err := h.find(t.Context(), token)
		if err != nil || client.ID != want || client.Guest != (want != "alice") || len(client.Groups) > 0 {
			t.Errorf("got %+v, %v", client, err)
		}
	}
	forged := newIssuer(t, "https://id.example").sign("alice", "")
	checkRefused(t, h, bearing(forged, chat), http.StatusUnauthorized, "invalid_api_key")
	stranger := newIssuer(t, "https://else.example").sign("alice", "")
	checkRefused(t, h, bearing(stranger, chat), http.StatusUnauthorized, "invalid_api_key")
}
