// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// A client that is disabled is told so, before its body is read, and so is one
// that asks for its own usage.
func TestDisabledClient(t *testing.T) {
	c := newClient(t)
	c.Disabled = true
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}, UsageEndpoint: "/llm/usage"})
	r := request("/v1/chat/completions", "")
	r.Body = readPanicsCloser{}
	checkRefused(t, h, r, http.StatusUnauthorized, "disabled_api_key")
	if w, _, _ := askUsage(h); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "disabled_api_key") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// An old secret is valid until its time, and the new one all the while.
func TestOldSecrets(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	c := newClient(t)
	c.OldSecrets = []*OldSecret{
		{Secret: auth.HashSecret("key-old").String(), Until: in(time.Hour)},
		{Secret: auth.HashSecret("key-older").String(), Until: in(-time.Hour)},
		{Secret: auth.HashSecret("key-ancient").String(), Until: "1970-01-01"},
	}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	for key, valid := range map[string]bool{secret: true, "key-old": true, "key-older": false, "key-ancient": false} {
		if knows(h, key) != valid {
			t.Errorf("%s: valid is %t", key, !valid)
		}
	}
}

// What operators want to know of a client stands in the log, in records and in
// placeholders.
func TestMetadataComesOut(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	c := newClient(t)
	c.Metadata = map[string]string{"team": "search", "cost.center": "42 €"}
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{c}}})
	h.logger = zap.New(core)
	r := request("/v1/chat/completions", chat)
	behind(h, r, func(_ http.ResponseWriter, r *http.Request) error {
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		if got := repl.ReplaceAll("{llm.client.metadata.team} {llm.client.metadata.none}.", "?"); got != "search ?." {
			t.Errorf("placeholders stand for %q", got)
		}
		return nil
	})
	if logs.Len() != 1 || fmt.Sprint(logs.All()[0].ContextMap()["llm_client_metadata"]) != "map[cost.center:42 € team:search]" {
		t.Errorf("the log says %v", logs.All())
	}
	a := account{call: &streaming.Call{}, metadata: c.Metadata}
	if got := a.record().Metadata; !maps.Equal(got, c.Metadata) {
		t.Errorf("the record says %v", got)
	}
}

// A client may use the providers of its groups, unless it has some of its own.
func TestProvidersOfGroups(t *testing.T) {
	own, member, free := newClient(t), &Client{ID: "member", Secrets: []string{"sha256:" + zeros}}, &Client{ID: "free", Secrets: []string{"sha256:" + strings.Repeat("1", 64)}}
	own.Groups, own.Providers = []string{"a"}, []string{"mine"}
	member.Groups = []string{"a", "b", "c"}
	h := newHandler(t, &Handler{
		Callers: Callers{Clients: []*Client{own, member, free}, Groups: []*Group{{Name: "a", Providers: []string{"x*"}}, {Name: "b", Providers: []string{"y"}}, {Name: "c"}}},
	})
	for id, want := range map[string][]string{own.ID: {"mine"}, "member": {"x*", "y"}, "free": nil} {
		if client, _ := h.directory.Load().Named(id); !slices.Equal(client.Providers, want) {
			t.Errorf("%s: %v", id, client.Providers)
		}
	}
}

// What a config says wrongly of these is an error when it is loaded.
func TestBadClientFieldsAreRefused(t *testing.T) {
	many := map[string]string{}
	for i := range maxMetadata + 1 {
		many[fmt.Sprint("name-", i)] = "x"
	}
	for name, spoil := range map[string]func(*Client){
		"old secret, null":     func(c *Client) { c.OldSecrets = []*OldSecret{nil} },
		"old secret, no time":  func(c *Client) { c.OldSecrets = []*OldSecret{{Secret: "sha256:" + zeros}} },
		"old secret, in clear": func(c *Client) { c.OldSecrets = []*OldSecret{{Secret: "key", Until: "2999-01-01"}} },
		"old secret, the same": func(c *Client) { c.OldSecrets = []*OldSecret{{Secret: c.Secrets[0], Until: "2999-01-01"}} },
		"metadata, many":       func(c *Client) { c.Metadata = many },
		"metadata, name":       func(c *Client) { c.Metadata = map[string]string{"a b": "x"} },
		"metadata, no name":    func(c *Client) { c.Metadata = map[string]string{"": "x"} },
		"metadata, long name":  func(c *Client) { c.Metadata = map[string]string{strings.Repeat("n", 65): "x"} },
		"metadata, long value": func(c *Client) { c.Metadata = map[string]string{"a": strings.Repeat("x", 257)} },
		"metadata, control":    func(c *Client) { c.Metadata = map[string]string{"a": "x\ny"} },
		"metadata, no text":    func(c *Client) { c.Metadata = map[string]string{"a": "\xff"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			spoil(c)
			ctx := newContext(t)
			h := &Handler{Callers: Callers{Clients: []*Client{c}}}
			if err := h.Provision(ctx); err == nil {
				t.Error("accepted")
			}
			if err := h.Cleanup(); err != nil {
				t.Error(err)
			}
		})
	}
}
