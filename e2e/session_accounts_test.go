// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A session is one call: it takes one place and one request of its client's
// limits while it lasts, and its tokens and their price when it is over.
func TestSessionCountsAsOneCall(t *testing.T) {
	g := start(t, head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			limit concurrent 1
			limit requests 3 1h
			limit tokens 100 1h
		}
		price gpt-realtime {
			input 4
			output 16
		}
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`)
	c := g.talk(t, realtimePath, withKey())
	c.say(question)
	for range 5 {
		c.say(askResponse)
		c.mustHear(`"response.done"`)
	}
	if _, res := g.dial(t, realtimePath, withKey()); res.StatusCode != 429 {
		t.Errorf("beside the first: %s", res.Status)
	}
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
	for _, call := range g.awaitCalls(t, 2) {
		if call["status"] == 101.0 && call["llm_cost"] != 0.00168 {
			t.Errorf("for 20 tokens in and 100 out the log says %v", call)
		}
	}
	_, res := g.dial(t, realtimePath, withKey())
	status, body := readAll(t, res)
	if status != 429 || !strings.Contains(body, "user_quota_exceeded") || !strings.Contains(body, "tokens per") {
		t.Errorf("after 120 tokens: %d %s", status, body)
	}
	if left := res.Header.Get("X-Ratelimit-Remaining-Requests"); left != "2" { // the session was one
		t.Errorf("%s requests are left", left)
	}
}

// A reload closes the sessions of the config before, as reverse_proxy does,
// and they are settled.
func TestReloadClosesSessions(t *testing.T) {
	g := start(t, threeKeys)
	c := g.talk(t, realtimePath, withKey())
	c.mustHear(`"session.created"`)
	_, config := g.send(t, "GET", "/config/", "", "")
	if status, body := g.send(t, "POST", "/load", "application/json", strings.Replace(config, `"handler":"llm_simulator"`, `"chunks":7,"handler":"llm_simulator"`, 1)); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, body)
	}
	if _, err := c.hear("nothing"); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("got %v", err)
	}
	if call := g.awaitCalls(t, 1)[0]; call["llm_outcome"] != "ok" {
		t.Errorf("the log says %v", call)
	}
	again := g.talk(t, realtimePath, withKey())
	again.mustHear(`"session.created"`)
}

// With a delay they go on meanwhile, and count as ever.
func TestSessionsOutliveAReload(t *testing.T) {
	g := start(t, strings.Replace(threeKeys, "\t\tclient app", "\t\tstream_close_delay 1m\n\t\tclient app", 1))
	c := g.talk(t, realtimePath, withKey())
	c.mustHear(`"session.created"`)
	_, config := g.send(t, "GET", "/config/", "", "")
	for chunks := range 3 {
		changed := strings.Replace(config, `"handler":"llm_simulator"`, fmt.Sprintf(`"chunks":%d,"handler":"llm_simulator"`, chunks+1), 1)
		if status, body := g.send(t, "POST", "/load", "application/json", changed); status != http.StatusOK {
			t.Fatalf("reloading: %d %s", status, body)
		}
		c.say(askResponse)
		c.mustHear(`"response.done"`)
	}
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
	if call := g.awaitCalls(t, 1)[0]; call["llm_outcome"] != "ok" || call["llm_output_tokens"] != 60.0 {
		t.Errorf("the log says %v", call)
	}
}
