// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// withMetadata has metrics count by team and plan, of clients of the config, of
// a store, and of those whom a handler in front names.
func withMetadata(names string) string {
	config := withStore("storage", "metrics_metadata "+names+"\n\t\ttrust_user {http.request.header.X-User}")
	return strings.Replace(config, "client app CLIENT", "client app CLIENT {\n\t\t\tmetadata team search\n\t\t}", 1)
}

// Calls, tokens and cost are counted by the metadata that the config chooses: of
// clients of the config and of the store, also of those who have none; but not
// of callers who are no clients. A reload that chooses other names loses nothing.
func TestMetricsByMetadata(t *testing.T) {
	g := start(t, withMetadata("team plan"))
	ask := func(key string, header ...string) {
		t.Helper()
		g.call(t, "127.0.0.1", key, "/v1/chat/completions", chatBody, header...)
	}
	added := g.makeKey(t, "add", "added", "--metadata", "team=jobs", "--metadata", "plan=gold", "--metadata", "ticket=4711")
	g.do(t, "POST", "/v1/chat/completions", chatBody)
	ask(added)
	ask(added)
	ask("nobody")
	ask("", "X-User", "alice")
	g.awaitCalls(t, 5)
	const series = `caddy_llm_metadata_calls_total{name="%s",outcome="ok",value="%s"}`
	want := map[string]float64{
		fmt.Sprintf(series, "team", "search"): 1, fmt.Sprintf(series, "team", "jobs"): 2, fmt.Sprintf(series, "team", ""): 1,
		fmt.Sprintf(series, "plan", "gold"): 2, fmt.Sprintf(series, "plan", ""): 2,
		`caddy_llm_metadata_tokens_total{kind="output",name="team",value="search"}`: 20,
		`caddy_llm_metadata_tokens_total{kind="output",name="plan",value="gold"}`:   40,
	}
	checkCounted := func() {
		t.Helper()
		got := g.scrape(t)
		checkValues(t, got, want)
		for name := range got {
			if _, counted := want[name]; strings.HasPrefix(name, "caddy_llm_metadata_calls_total") && !counted {
				t.Errorf("%s was counted, too", name)
			}
		}
	}
	checkCounted()

	g.reload(t, withMetadata("plan"))
	ask(added)
	g.awaitCalls(t, 6)
	want[fmt.Sprintf(series, "plan", "gold")]++
	want[`caddy_llm_metadata_tokens_total{kind="output",name="plan",value="gold"}`] += 20
	checkCounted()
}

// However many clients are added, each with a value of its own, they have a
// bounded number of series, and leave those of the config their room.
func TestAddedMetadataHaveFewSeries(t *testing.T) {
	g := start(t, withMetadata("team"))
	const clients = 130
	for i := range clients {
		body := fmt.Sprintf(`{"id":"c%d","metadata":{"team":"team-%d"},"secrets":[]}`, i, i)
		if status, text := g.send(t, "POST", "/llm/clients", "application/json", body); status != 200 {
			t.Fatalf("adding: %d %s", status, text)
		}
	}
	for i := range clients {
		g.call(t, "127.0.0.1", "", "/v1/chat/completions", chatBody, "X-User", fmt.Sprintf("c%d", i))
	}
	g.do(t, "POST", "/v1/chat/completions", chatBody)
	g.awaitCalls(t, clients+1)
	values, calls := 0, 0.0
	got := g.scrape(t)
	for series, n := range got {
		if strings.HasPrefix(series, "caddy_llm_metadata_calls_total{") {
			values, calls = values+1, calls+n
		}
	}
	if values != 102 || calls != clients+1 || got[`caddy_llm_metadata_calls_total{name="team",outcome="ok",value="search"}`] != 1 {
		t.Errorf("%d series of %v calls", values, calls)
	}
}
