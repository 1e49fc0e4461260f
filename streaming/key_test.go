// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What a config says of a key is kept to: a key of another model, an expired
// one and one of a higher tier are not used while another is free.
func TestKeyOptions(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	p := pool("p", up.URL, "claude-"+t.Name(), "old-"+t.Name(), "spare-"+t.Name(), "once-"+t.Name())
	p.Keys[0].Models = []string{"claude-*"}
	p.Keys[1].Expires = "2020-01-01"
	p.Keys[2].Tier = 1
	p.Keys[3].Requests = &KeyLimit{Max: 1}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	for range 3 {
		if status, _, _ := chat(t, tr, chatBody); status != 200 {
			t.Fatalf("got %d", status)
		}
	}
	if got, want := up.keysAsked(), strings.Join([]string{p.Keys[3].ID, p.Keys[2].ID, p.Keys[2].ID}, " "); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// What the provider says is left of a key's limits decides which key is next.
func TestHeadroomIsRead(t *testing.T) {
	left := map[string]string{"a-" + t.Name(): "10", "b-" + t.Name(): "80", "c-" + t.Name(): "0"}
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		w.Header().Set("x-ratelimit-limit-requests", "100")
		w.Header().Set("x-ratelimit-remaining-requests", left[key])
		w.Header().Set("x-ratelimit-reset-requests", "10m")
		answerJSON(w, 200, chatAnswer)
	})
	p := pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name(), "c-"+t.Name())
	p.Select = "headroom"
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	for range 9 {
		chat(t, tr, chatBody)
	}
	if n := strings.Count(up.keysAsked(), "b-"); n != 7 {
		t.Errorf("asked %s", up.keysAsked())
	}
}

// A key whose options cannot be is refused when the config is loaded.
func TestRefusedKeyOptions(t *testing.T) {
	for name, change := range map[string]func(*Key){
		"expires":  func(k *Key) { k.Expires = "soon" },
		"tier":     func(k *Key) { k.Tier = -1 },
		"requests": func(k *Key) { k.Requests = &KeyLimit{Max: -1} },
	} {
		p := pool("p", "http://127.0.0.1:1", "canary-"+t.Name())
		p.Keys[0].ID = "a"
		change(p.Keys[0])
		tr := &Transport{Providers: []*Provider{p}}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		err := tr.Provision(ctx)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
		_ = tr.Cleanup()
		cancel()
	}
}

// What was learned of the provider's servers outlives the config.
func TestReloadKeepsTheUpstream(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 500, `{}`) })
	transport := func() *Transport {
		return provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	}
	before := transport()
	chat(t, before, chatBody)
	chat(t, before, chatBody)
	asked := len(up.requests())
	after := transport()
	if err := before.Cleanup(); err != nil {
		t.Fatal(err)
	}
	chat(t, after, chatBody)
	if n := len(up.requests()); n != asked || n != 5 {
		t.Errorf("asked %d times before the reload, want 5, and %d after", asked, n-asked)
	}
}
