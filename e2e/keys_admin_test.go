// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// poolKey is what the admin API tells of a key.
type poolKey struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	Available bool   `json:"available"`
	Attempts  int    `json:"attempts"`
	Successes int    `json:"successes"`
	Resting   struct {
		Until time.Time `json:"until"`
		Class string    `json:"class"`
	} `json:"resting"`
	RestingModels map[string]struct {
		Until time.Time `json:"until"`
		Class string    `json:"class"`
	} `json:"resting_models"`
}

// poolKeys returns the keys of all pools by provider and id.
func (g *gateway) poolKeys(t *testing.T) map[string]poolKey {
	t.Helper()
	status, text := g.send(t, "GET", "/llm/pools", "", "")
	var pools []struct {
		Provider string    `json:"provider"`
		Keys     []poolKey `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &pools); status != http.StatusOK || err != nil {
		t.Fatalf("GET /llm/pools: %d %s, %v", status, text, err)
	}
	keys := map[string]poolKey{}
	for _, pool := range pools {
		for _, key := range pool.Keys {
			keys[pool.Provider+"/"+key.ID] = key
		}
	}
	return keys
}

// Operators see why keys rest, take one out, and put it back. What they did
// outlives a reload.
func TestKeysInTheAdminAPI(t *testing.T) {
	g := start(t, threeKeys)
	g.do(t, "POST", "/v1/chat/completions", chatBody)
	keys := g.poolKeys(t)
	if k := keys["openai/good"]; len(keys) != 3 || k.State != "closed" || !k.Available || k.Successes != 1 {
		t.Errorf("of the good key: %+v, of %d", k, len(keys))
	}
	if k := keys["openai/invalid"]; k.State != "open" || k.Available || k.Resting.Class != "credential" || time.Until(k.Resting.Until) < 20*time.Second {
		t.Errorf("of the rejected key: %+v", k)
	}
	limited := keys["openai/limited"].RestingModels["gpt-4o"]
	if limited.Class != "rate_limited" || time.Until(limited.Until) < 500*time.Second {
		t.Errorf("of the limited key: %+v", keys["openai/limited"])
	}

	const path = "/llm/pools/openai/keys/good/"
	if status, text := g.send(t, "POST", path+"disable", "", ""); status != http.StatusOK || !strings.Contains(text, `"state":"disabled"`) {
		t.Errorf("disable: %d %s", status, text)
	}
	g.reload(t, strings.Replace(threeKeys, "client app CLIENT", "client app CLIENT\n\t\tmax_request_body 1MiB", 1))
	if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusServiceUnavailable {
		t.Errorf("without any key: %d %s", status, text)
	}
	if status, _ := g.send(t, "POST", path+"enable", "", ""); status != http.StatusOK {
		t.Errorf("enable: %d", status)
	}
	if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusOK {
		t.Errorf("with the key again: %d %s", status, text)
	}
	if status, _ := g.send(t, "POST", "/llm/pools/openai/keys/limited/reset", "", ""); status != http.StatusOK {
		t.Errorf("reset: %d", status)
	}
	if k := g.poolKeys(t)["openai/limited"]; len(k.RestingModels) > 0 {
		t.Errorf("after a reset: %+v", k)
	}

	for request, want := range map[string]int{
		"POST /llm/pools": http.StatusMethodNotAllowed, "GET " + path + "disable": http.StatusMethodNotAllowed,
		"POST " + path + "sell":                           http.StatusNotFound,
		"POST /llm/pools/openai/keys/nothing/disable":     http.StatusNotFound,
		"POST /llm/pools/nothing/keys/good/disable":       http.StatusNotFound,
		"DELETE /llm/pools/openai/keys/good/disable":      http.StatusMethodNotAllowed,
		"POST /llm/pools/openai/keys/" + "%00" + "/reset": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		status, text := g.send(t, method, path, "", "")
		var answer struct{ Error string }
		if err := json.Unmarshal([]byte(text), &answer); status != want || err != nil || answer.Error == "" {
			t.Errorf("%s: %d %s, want %d", request, status, text, want)
		}
	}
}

// When the only key is disabled the client is told that there is none, and of
// no time at which to try again.
func TestAllKeysDisabled(t *testing.T) {
	g := start(t, strings.Replace(threeKeys, "key sim-limited {\n\t\t\t\tid limited\n\t\t\t}\n\t\t\tkey sim-invalid {\n\t\t\t\tid invalid\n\t\t\t}\n\t\t\t", "", 1))
	g.send(t, "POST", "/llm/pools/openai/keys/good/disable", "", "")
	res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", chatBody))
	if err != nil {
		t.Fatal(err)
	}
	status, text := readAll(t, res)
	if status != http.StatusServiceUnavailable || !strings.Contains(text, "no_provider_key") || res.Header.Get("Retry-After") != "" {
		t.Errorf("%d %s, Retry-After %q", status, text, res.Header.Get("Retry-After"))
	}
}

// The command speaks to the admin API of the running Caddy.
func TestKeysCommand(t *testing.T) {
	g := start(t, threeKeys)
	g.do(t, "POST", "/v1/chat/completions", chatBody)
	keys := func(args ...string) (string, error) {
		args = append(append([]string{"llm", "keys"}, args...), "--address", strings.TrimPrefix(g.admin, "http://"))
		out, err := exec.Command(binary, args...).CombinedOutput()
		return string(out), err
	}
	for _, step := range []struct {
		args []string
		want []string
	}{
		{[]string{"list"}, []string{"openai", "limited", "free (models at rest: 1)", "rests 30s (credential)", "good", "free"}},
		{[]string{"disable", "openai", "good"}, []string{"openai good: disabled"}},
		{[]string{"list"}, []string{"disabled"}},
		{[]string{"enable", "openai", "good"}, []string{"openai good: free"}},
		{[]string{"reset", "openai", "invalid"}, []string{"openai invalid: free"}},
	} {
		out, err := keys(step.args...)
		for _, want := range step.want {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("keys %v: %v, without %q:\n%s", step.args, err, want, out)
			}
		}
	}
	if out, err := keys("disable", "openai", "nothing"); err == nil || !strings.Contains(out, "has no key") {
		t.Errorf("of a key that is not there: %v\n%s", err, out)
	}
	if out, err := keys("disable", "openai"); err == nil {
		t.Errorf("without a key: %s", out)
	}
}

// While the provider is left alone as nobody answers there, no key is called
// free.
func TestKeysOfAProviderThatIsAway(t *testing.T) {
	g := start(t, strings.Replace(threeKeys, "provider openai http://127.0.0.1:SIM", "provider openai http://127.0.0.1:1", 1))
	for range 3 {
		g.do(t, "POST", "/v1/chat/completions", chatBody)
	}
	out, err := exec.Command(binary, "llm", "keys", "list", "--address", strings.TrimPrefix(g.admin, "http://")).CombinedOutput()
	if err != nil || strings.Count(string(out), "provider rests ") != 3 || !strings.Contains(string(out), "(not_sent)") || strings.Contains(string(out), "free") {
		t.Errorf("%v:\n%s", err, out)
	}
	if k := g.poolKeys(t)["openai/good"]; k.State != "closed" || k.Available {
		t.Errorf("of a key: %+v", k)
	}
}
