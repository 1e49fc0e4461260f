// SPDX-License-Identifier: Apache-2.0

package caddyfile_test

import (
	"strings"
	"testing"
)

// A config that comes as JSON meets the same checks as a Caddyfile, without a
// line to name.
func TestJSONIsCheckedLikeACaddyfile(t *testing.T) {
	good, err := adapt(`:8080 {
	llm_proxy {
		client app sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae {
			limit tokens 500 day
			allow_ip 10.0.0.0/8
		}
		usage_endpoint
		heartbeat 15s
		provider openai {
			select weighted
			prefill on
			transport http {
				dial_timeout 2s
			}
			key sk-1
			key sk-2
		}
		model gpt-* openai
		model o3* openai
		rescue resume
		state persist
		usage observe
		on_disconnect drain
		probe 20s
	}
}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(good); err != nil {
		t.Fatalf("the good config is refused: %v", err)
	}
	for name, test := range map[string]struct{ replace, with, want string }{
		"rescue":             {`"resume"`, `"maybe"`, `rescue: must be off or resume, not "maybe"`},
		"state":              {`"persist"`, `"disk"`, `state: must be memory or persist, not "disk"`},
		"usage":              {`"observe"`, `"always"`, `usage: must be inject or observe, not "always"`},
		"on_disconnect":      {`"drain"`, `"wait"`, `on_disconnect: must be cancel or drain, not "wait"`},
		"select":             {`"weighted"`, `"luck"`, `provider "openai": select: must be round_robin, weighted`},
		"prefill":            {`"prefill": "on"`, `"prefill": "yes"`, `provider "openai": prefill: must be on or off, not "yes"`},
		"proxy_protocol":     {`"dial_timeout": 2000000000`, `"proxy_protocol": "v2"`, `transport: proxy_protocol names one client`},
		"probe":              {`"probe": 20000000000`, `"probe": 20`, `probe: must be at least 1s`},
		"key twice":          {`"sk-2"`, `"sk-1"`, `provider "openai": key 2: the secret is also that of key 1`},
		"model twice":        {`"match": "o3*"`, `"match": "gpt-4*"`, `model "gpt-4*": its targets of the openai family are never asked: the line for "gpt-*" above it`},
		"unknown provider":   {`"provider": "openai"`, `"provider": "opanai"`, `unknown provider "opanai"; known are openai`},
		"client's secret":    {`"sha256:2c`, `"sha256:xx`, `client 1 ("app"): secret: a client's secret is given as sha256`},
		"client's address":   {`10.0.0.0/8`, `10.0.0.0/99`, `client 1 ("app"): allow_ip: "10.0.0.0/99" is neither`},
		"client's limit":     {`"kind": "tokens"`, `"kind": "money"`, `client 1 ("app"): limit money: unknown; there are requests`},
		"path of the usage":  {`"/llm/usage"`, `"usage"`, `usage_endpoint: wants a path`},
		"heartbeat too fast": {`"heartbeat": 15000000000`, `"heartbeat": 15`, `heartbeat: must be at least 1s`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(string(good), test.replace, test.with, 1)
			if bad == string(good) {
				t.Fatalf("%s stands nowhere in %s", test.replace, good)
			}
			if err := validate([]byte(bad)); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "Caddyfile") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
