// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"testing"
)

// Whose groups are all unknown may do what nothing limits, unless a group is
// required. Whom the config knows needs none, for there its word holds.
func TestAVoucherMayRequireAGroup(t *testing.T) {
	issuer := newIssuer(t, "https://id.example")
	open := func(required bool) *Handler {
		return newHandler(t, &Handler{Callers: Callers{
			JWT: []*JWT{issuer.jwt(Claims{GroupsClaim: "groups", Membership: Membership{
				GroupNames: map[string]string{"/eng": "staff"}, RequireGroup: required,
			}})},
			Groups:  []*Group{{Name: "staff", Models: []string{"gpt-*"}}},
			Clients: []*Client{{ID: "known"}},
		}})
	}
	model := `{"model":"claude-3"}`
	for _, claims := range []string{`{"groups":["strangers"]}`, `{"groups":[]}`, ``} {
		token := issuer.sign("alice", claims)
		checkPassed(t, open(false), bearing(token, model))
		h := open(true)
		logs := watchLog(h)
		checkRefused(t, h, bearing(token, model), http.StatusForbidden, "group_required")
		line := logs.FilterMessage("call").All()[0].ContextMap()
		if line["llm_auth_reason"] != "no_group" || line["llm_client"] != "alice" {
			t.Errorf("the line has %v", line)
		}
	}
	h := open(true)
	checkPassed(t, h, bearing(issuer.sign("alice", `{"groups":["strangers","/eng"]}`), `{"model":"gpt-4o"}`))
	checkPassed(t, h, bearing(issuer.sign("known", `{"groups":["strangers"]}`), model))
}

// So may a handler in front, whose word is as good.
func TestATrustedUserMayNeedAGroup(t *testing.T) {
	h := newHandler(t, &Handler{
		Callers: Callers{Groups: []*Group{{Name: "staff"}}},
		TrustUser: &TrustUser{
			ID: "{http.request.header.Remote-User}", GroupsFrom: "{http.request.header.Remote-Groups}",
			Membership: Membership{RequireGroup: true},
		},
	})
	from := func(groups string) *http.Request {
		return request("/v1/chat/completions", chat, "Remote-User", "alice", "Remote-Groups", groups)
	}
	checkPassed(t, h, from("guests,staff"))
	checkRefused(t, h, from("guests"), http.StatusForbidden, "group_required")
	checkRefused(t, h, from(""), http.StatusForbidden, "group_required")
}
