// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// leaky logs all that can be logged, with the filter that the documentation
// gives for the access log.
const leaky = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	debug
}
http://127.0.0.1:GATEWAY {
	log {
		format filter {
			request>headers>X-Api-Key delete
			request>headers>Api-Key delete
			request>headers>X-Goog-Api-Key delete
			request>headers>Sec-Websocket-Protocol delete
			request>uri query {
				delete key
				delete api-key
				delete authorization
			}
		}
	}
	llm_proxy {
		client app {env.APP_SECRET}
		provider openai http://127.0.0.1:SIM {
			keys {env.POOL}
		}
		provider anthropic http://127.0.0.1:SIM {
			keys {env.POOL}
		}
		provider gemini http://127.0.0.1:SIM {
			keys {env.POOL}
		}
		verbose_logs
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key {env.GOOD}
		key {env.LIMITED} rate_limited 20s
		model cut-* cut 2
	}
}
`

// No key, of a client or a provider, shows in any log, error, metric or answer
// of the admin API.
func TestSecretsStayIn(t *testing.T) {
	g := start(t, leaky, "APP_SECRET="+clientKey, "GOOD=sk-canary-good", "LIMITED=sk-canary-limited",
		"POOL=sk-canary-limited,sk-canary-rejected,sk-canary-good")
	var answers strings.Builder
	call := func(path, header, value, body string) {
		req := g.newRequest(t, "POST", path, body)
		req.Header.Del("Authorization")
		if header != "" {
			req.Header.Set(header, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return // the cut stream: what the log says of it is what counts
		}
		defer res.Body.Close()
		for name, values := range res.Header {
			answers.WriteString(name + ": " + strings.Join(values, " ") + "\n")
		}
		text, _ := io.ReadAll(res.Body) // the cut stream ends in an error
		answers.Write(text)
	}
	const google = "/v1beta/models/gemini-2.5-flash:generateContent"
	for _, key := range []string{clientKey, clientKey + "-wrong"} {
		call("/v1/chat/completions", "Authorization", "Bearer "+key, chatBody)
		call("/v1/chat/completions", "Authorization", "Bearer "+key, strings.Replace(chatStreamBody, "gpt-4o", "cut-model", 1))
		call("/v1/messages", "X-Api-Key", key, `{"model":"claude","messages":[]}`)
		call("/v1/chat/completions", "Api-Key", key, chatBody)
		call(google, "X-Goog-Api-Key", key, `{"contents":[]}`)
		call(google+"?key="+key, "", "", `{"contents":[]}`)
		call("/v1/nothing", "Authorization", "Bearer "+key, "{")
		for path, opts := range map[string]*websocket.DialOptions{
			realtimePath:                                    withProtocols("realtime", "openai-insecure-api-key."+key),
			realtimePath + "&api-key=" + key:                nil,
			realtimePath + "&authorization=Bearer%20" + key: nil,
			livePath + "?key=" + key:                        nil,
		} {
			c, res := g.dial(t, path, opts)
			answers.WriteString(fmt.Sprint(res.Header))
			if c != nil {
				_ = c.conn.Close(websocket.StatusNormalClosure, "")
			} else {
				_, body := readAll(t, res)
				answers.WriteString(body)
			}
		}
	}
	_, config := g.send(t, "GET", "/config/apps/http/servers", "", "")
	g.awaitCalls(t, 22)
	_, metrics := g.send(t, "GET", "/metrics", "", "")
	_, pools := g.send(t, "GET", "/llm/pools", "", "")
	keyID := "key-" + fingerprint("sk-canary-good")
	status, key := g.send(t, "POST", "/llm/pools/openai/keys/"+keyID+"/disable", "", "")
	if status != http.StatusOK || !strings.Contains(metrics, keyID) || !strings.Contains(pools, keyID) {
		t.Errorf("the keys are not there to leak: %d %s", status, key)
	}
	_, refused := g.send(t, "POST", "/llm/pools/openai/keys/nothing/disable", "", "")

	for where, text := range map[string]string{
		"the log": g.Output(), "an answer": answers.String(), "the config": config, "the metrics": metrics,
		"the pools": pools + key, "the admin API's errors": refused,
	} {
		for _, canary := range []string{"clp-canary", "sk-canary"} {
			if at := strings.Index(text, canary); at >= 0 {
				t.Errorf("a secret shows in %s: …%s…", where, text[max(0, at-300):min(len(text), at+40)])
			}
		}
	}
}
