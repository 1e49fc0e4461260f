// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// send sends a request to Caddy's admin API.
func (g *gateway) send(t *testing.T, method, path, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, g.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, res)
}

// A config is loaded and changed through the admin API. What was learned of
// the keys stays, and a config that is refused changes nothing.
func TestAdminAPI(t *testing.T) {
	g := start(t, threeKeys)
	for range 3 {
		g.do(t, "POST", "/v1/chat/completions", chatBody)
	}
	ports := []string{g.url[len("http://127.0.0.1:"):], g.sim[len("http://127.0.0.1:"):], g.admin[len("http://127.0.0.1:"):]}

	wide := strings.Replace(threeKeys, "client app CLIENT", "client app CLIENT\n\t\tmax_request_body 1MiB", 1)
	if status, text := g.send(t, "POST", "/load", "text/caddyfile", expand(wide, ports)); status != 200 {
		t.Fatalf("POST /load: %d %s", status, text)
	}
	http.DefaultClient.CloseIdleConnections() // the old servers close them, too
	for range 3 {
		if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != 200 {
			t.Errorf("after a reload: %d %s", status, text)
		}
	}
	// The simulator counts anew with each config.
	if asked := g.asked(t); asked[fingerprint("sim-good")] != 3 || len(asked) != 1 {
		t.Errorf("the reload forgot cool-downs: asked %v", asked)
	}

	// The gateway's site is the first server, its handler the first.
	status, text := g.send(t, "GET", "/config/apps/http/servers", "", "")
	if status != 200 {
		t.Fatalf("GET /config: %d %s", status, text)
	}
	server := "srv0"
	if _, after, _ := strings.Cut(text, `"srv1"`); strings.Contains(after, "llm_proxy") {
		server = "srv1"
	}
	_, routes := g.send(t, "GET", "/config/apps/http/servers/"+server+"/routes", "", "")
	path := "/config/apps/http/servers/" + server + "/routes/0/handle/0/routes/0/handle/0/max_request_body"
	if !strings.Contains(routes, "subroute") {
		path = "/config/apps/http/servers/" + server + "/routes/0/handle/0/max_request_body"
	}
	if status, text := g.send(t, "PATCH", path, "application/json", "20"); status != 200 {
		t.Fatalf("PATCH %s: %d %s\n%s", path, status, text, routes)
	}
	http.DefaultClient.CloseIdleConnections()
	if status, _ := g.do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusRequestEntityTooLarge {
		t.Errorf("with the new limit: %d, want 413", status)
	}

	status, text = g.send(t, "PATCH", strings.Replace(path, "max_request_body", "clients", 1), "application/json", "[]")
	if status == 200 || !strings.Contains(text, "nobody may call") {
		t.Errorf("a config that lets nobody in was taken: %d %s", status, text)
	}
	if status, _ := g.do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusRequestEntityTooLarge {
		t.Errorf("the refused config has changed something: %d", status)
	}
}
