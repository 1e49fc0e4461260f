// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const clientsFromFile = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		clients FILE
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
`

// Clients come into force and go when their file changes, without a reload;
// when it breaks, the log says so and all stays as it is.
func TestClientsFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients.json")
	write := func(text string) {
		t.Helper()
		// Written beside and moved, as good tools do.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	client := func(id, key string) string {
		return fmt.Sprintf(`{"clients":[{"id":%q,"secrets":[%q]}]}`, id, hash(key))
	}
	write(client("a", "clp-a"))
	g := start(t, strings.ReplaceAll(clientsFromFile, "FILE", path))
	status := func(key string) int {
		res, _ := g.call(t, "127.0.0.1", key, "/v1/chat/completions", chatBody)
		return res.StatusCode
	}
	if a, b := status("clp-a"), status("clp-b"); a != 200 || b != 401 {
		t.Fatalf("at the start: %d, %d", a, b)
	}
	write(`{"clients":[`)
	g.await(t, "the file of clients was not taken")
	if a := status("clp-a"); a != 200 {
		t.Errorf("with a broken file: %d", a)
	}
	write(client("b", "clp-b"))
	g.await(t, "the file of clients has been read again")
	if a, b := status("clp-a"), status("clp-b"); a != 401 || b != 200 {
		t.Errorf("with the new file: %d, %d", a, b)
	}
}

const behindBasicAuth = head + `http://127.0.0.1:GATEWAY {
	basic_auth {
		alice $2a$04$kfzh2YynmWkjdWoQ6RimXeUpK4uWb32JrErpBNytsriqGWck3IEYm
	}
	llm_proxy {
		trust_user
		client alice {
			models gpt-4o
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
`

// Caddy's own authentication says who is calling.
func TestCaddysOwnAuthentication(t *testing.T) {
	g := start(t, behindBasicAuth)
	for _, test := range []struct {
		password, model string
		status          int
	}{{"secret", "gpt-4o", 200}, {"secret", "o1", 403}, {"wrong", "gpt-4o", 401}} {
		req := g.newRequest(t, "POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", test.model, 1))
		req.SetBasicAuth("alice", test.password)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if status, text := readAll(t, res); status != test.status {
			t.Errorf("%s, %s: %d %s", test.password, test.model, status, text)
		}
	}
	if call := g.awaitCalls(t, 2)[0]; call["llm_client"] != "alice" {
		t.Errorf("the log names %v", call["llm_client"])
	}
}

// A rate_limit written by hand says the same as the directive's.
func TestHandWrittenRateLimit(t *testing.T) {
	g := start(t, head+`http://127.0.0.1:GATEWAY {
	rate_limit {
		zone everyone {
			key all
			events 1
			window 1m
		}
	}
	llm_proxy {
		client app CLIENT
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
	}
	handle_errors 429 {
		llm_limit_error everyone
	}
}
`)
	g.call(t, "127.0.0.1", "wrong", "/v1/messages", chatBody)
	res, text := g.call(t, "127.0.0.1", "wrong", "/v1/messages", chatBody)
	if res.StatusCode != 429 || !strings.Contains(text, `{"type":"error","error":{"type":"rate_limit_error","message":"the service is busy","code":"service_busy"`) {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
}
