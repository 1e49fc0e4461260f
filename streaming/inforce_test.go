// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// What operators see is the pools of the configs in force: of one name and
// place there is one, with the keys of all.
func TestPoolsInForce(t *testing.T) {
	one := provision(t, &Transport{Providers: []*Provider{pool("force-b", "http://b.invalid/v1", "k1", "k2")}})
	two := provision(t, &Transport{Providers: []*Provider{pool("force-b", "http://b.invalid/v1", "k2", "k3")}})
	three := provision(t, &Transport{Providers: []*Provider{pool("force-b", "http://elsewhere.invalid/v1", "k1"), pool("anthropic", "http://a.invalid", "k9")}})
	if pools := Pools(); len(pools) != 0 {
		t.Fatalf("configs that may be refused show: %v", pools)
	}
	for _, tr := range []*Transport{one, two, three} {
		inForce.add(tr)
		t.Cleanup(func() { inForce.remove(tr) })
	}
	show := func() string {
		var words []string
		for _, p := range Pools() {
			words = append(words, p.Provider+"("+p.API+" "+strings.TrimPrefix(p.BaseURL, "http://")+")")
			for _, k := range p.Keys {
				words = append(words, k.ID+"="+k.State)
			}
		}
		return strings.Join(words, " ")
	}
	const all = "anthropic(anthropic a.invalid) k9=closed force-b(openai b.invalid/v1) k2=closed k3=closed k1=closed force-b(openai elsewhere.invalid/v1) k1=closed"
	if got := show(); got != all {
		t.Errorf("got  %s\nwant %s", got, all)
	}
	if !OperateKey("force-b", "k1", (*keypool.Pool).Disable) || OperateKey("force-b", "k9", (*keypool.Pool).Disable) || OperateKey("nobody", "k1", (*keypool.Pool).Disable) {
		t.Error("a key was not found, or one that is none was")
	}
	if got, want := show(), strings.ReplaceAll(all, "k1=closed", "k1=disabled"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := three.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if got := show(); got != "force-b(openai b.invalid/v1) k2=closed k3=closed k1=disabled" {
		t.Errorf("after a config has ended: %s", got)
	}
}

// A call says whether the config names its model, and how many attempts it
// made beyond those that it lists.
func TestCallTellsWhatMetricsNeed(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(http.StatusTooManyRequests)
	})
	var keys []string
	for i := range maxAttempts + 3 {
		keys = append(keys, fmt.Sprintf("unlisted-%d", i))
	}
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("unlisted", u.URL, keys...)}, Retry: Retry{WaitForKey: -1},
		Models: []*ModelRoute{{Match: "gpt-*", Targets: []Target{{Provider: "unlisted"}}}, {Match: "exact", Targets: []Target{{Provider: "unlisted"}}}},
	})
	_, _, call := chat(t, tr, chatBody)
	if len(call.Attempts) != maxAttempts || call.Unlisted != 3 || call.Sent <= 0 || call.ModelConfigured {
		t.Errorf("listed %d, unlisted %d, sent after %s, configured %t", len(call.Attempts), call.Unlisted, call.Sent, call.ModelConfigured)
	}
	if _, _, call := chat(t, tr, strings.Replace(chatBody, "gpt-4o", "exact", 1)); !call.ModelConfigured {
		t.Error("a model that the config names is not known as such")
	}
}
