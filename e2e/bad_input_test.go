// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const strict = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		max_request_body 4KiB
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		provider anthropic http://127.0.0.1:SIM {
			key sim-good
		}
		provider gemini http://127.0.0.1:SIM {
			key sim-good
		}
		model gpt-* openai
		model claude-* anthropic
		model gemini-* gemini
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`

// inFamilies are the paths of three families, and where the errors of each
// keep our code and the message.
var inFamilies = map[string]func(body map[string]any) (code, message any){
	"/v1/chat/completions": func(body map[string]any) (any, any) {
		e, _ := body["error"].(map[string]any)
		return e["code"], e["message"]
	},
	"/v1/messages": func(body map[string]any) (any, any) {
		e, _ := body["error"].(map[string]any)
		if body["type"] != "error" {
			return nil, nil
		}
		return e["code"], e["message"]
	},
	"/v1beta/models/MODEL:generateContent": func(body map[string]any) (any, any) {
		e, _ := body["error"].(map[string]any)
		details, _ := e["details"].([]any)
		if len(details) == 0 {
			return nil, nil
		}
		return details[0].(map[string]any)["reason"], e["message"]
	},
}

func zip(text string) string {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return zipped.String()
}

// What cannot be served is refused in the family's own shape, says what is
// wrong, and costs the provider nothing.
func TestBadRequestsAreExplained(t *testing.T) {
	g := start(t, strict)
	const known, unknown = "gpt-claude-gemini", "nobody-knows-me"
	for name, test := range map[string]struct {
		model, body     string
		header, value   string
		status          int
		code, explained string
	}{
		"no body":            {known, "", "", "", 400, "missing_body", "send a JSON object"},
		"broken JSON":        {known, `{"model":"` + known + `",`, "", "", 400, "invalid_json", "brackets"},
		"an array":           {known, `["model"]`, "", "", 400, "invalid_json", "not an object"},
		"too large":          {known, `{"model":"` + known + `","x":"` + strings.Repeat("x", 8<<10) + `"}`, "", "", 413, "request_too_large", "4096 bytes"},
		"unknown model":      {unknown, `{"model":"` + unknown + `"}`, "", "", 404, "model_not_found", `the model "` + unknown + `" does not exist or is not available to you`},
		"compressed":         {known, zip(`{"model":"` + known + `"}`), "Content-Encoding", "gzip", 415, "unsupported_encoding", "unencoded"},
		"compressed unasked": {known, zip(`{"model":"` + known + `"}`), "", "", 415, "unsupported_encoding", "compressed"},
		"no JSON":            {known, "model=" + known, "Content-Type", "application/x-www-form-urlencoded", 415, "unsupported_media_type", "application/json"},
	} {
		for path, find := range inFamilies {
			req := g.newRequest(t, "POST", strings.Replace(path, "MODEL", test.model, 1), test.body)
			if test.header != "" {
				req.Header.Set(test.header, test.value)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			status, text := readAll(t, res)
			var body map[string]any
			_ = json.Unmarshal([]byte(text), &body)
			code, message := find(body)
			if status != test.status || code != test.code || !strings.Contains(fmt.Sprint(message), test.explained) {
				t.Errorf("%s, %s: got %d %s", name, path, status, text)
			}
		}
	}
	for _, path := range []string{"/", "/v1", "/v2/nothing", "/admin"} {
		if status, text := g.do(t, "POST", path, chatBody); status != 404 || !strings.Contains(text, `"unknown_path"`) {
			t.Errorf("%s: got %d %s", path, status, text)
		}
	}
	if asked := g.asked(t); len(asked) != 0 {
		t.Errorf("the provider was asked %v", asked)
	}
}

// A body that is shorter than it claims is not taken for a whole one, and one
// that is longer ends where it claimed to.
func TestLyingContentLength(t *testing.T) {
	g := start(t, strict)
	send := func(length int, body string) (int, string) {
		conn, err := net.Dial("tcp", g.url[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", g.url[len("http://"):], bearer, length, body)
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		var status int
		_, _ = fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
		return status, string(answer)
	}
	body := strings.Replace(chatBody, "gpt-4o", "gpt-1", 1)
	if status, text := send(len(body)+100, body); status != 400 || !strings.Contains(text, `"code":"incomplete_body"`) {
		t.Errorf("shorter than claimed: %d %s", status, text)
	}
	if status, text := send(len(body)-10, body); status != 400 || !strings.Contains(text, `"code":"invalid_json"`) {
		t.Errorf("longer than claimed: %d %s", status, text)
	}
	if asked := g.asked(t); len(asked) != 0 {
		t.Errorf("the provider was asked %v", asked)
	}
}

// A config with a mistake in it is refused, with words that name the option and
// tell how to mend it; the one before it goes on.
func TestBadConfigsAreExplained(t *testing.T) {
	g := start(t, strict)
	const provider = "\t\tprovider openai http://127.0.0.1:SIM {\n\t\t\tkey sim-good\n\t\t}\n"
	for name, test := range map[string]struct {
		replace string
		with    string
		says    []string
	}{
		"an empty key":              {provider, strings.Replace(provider, "sim-good", `""`, 1), []string{"an empty key", "Caddyfile:11"}},
		"a key that is not set":     {provider, strings.Replace(provider, "sim-good", "{env.NOT_SET_ANYWHERE}", 1), []string{`provider "openai": key 1`, "NOT_SET_ANYWHERE"}},
		"the same key twice":        {provider, strings.Replace(provider, "sim-good", "sim-good\n\t\t\tkey sim-good", 1), []string{`provider "openai"`, "the secret is also that of key"}},
		"no key":                    {provider, strings.Replace(provider, "\t\t\tkey sim-good\n", "", 1), []string{`provider "openai": no key`, "at least one 'key'"}},
		"a model routed nowhere":    {"model gpt-* openai", "model gpt-*", []string{"model gpt-* is routed nowhere", "Caddyfile:19"}},
		"an unknown provider":       {"model gpt-* openai", "model gpt-* opanai", []string{`model "gpt-*"`, `unknown provider "opanai"`}},
		"an unknown option":         {"max_request_body 4KiB", "max_request_bdy 4KiB", []string{"max_request_bdy", "Caddyfile:9"}},
		"an option twice":           {"max_request_body 4KiB", "max_request_body 4KiB\n\t\tmax_request_body 4KiB", []string{"max_request_body: already specified", "Caddyfile:10"}},
		"nobody who may call":       {"client app CLIENT", "", []string{"nobody may call", "'client <id>"}},
		"a client's key in clear":   {"client app CLIENT", "client app clp-clear", []string{`client 1 ("app"): secret`, "caddy llm hash-key"}},
		"a provider without a base": {provider, strings.Replace(provider, "openai http://127.0.0.1:SIM", "acme", 1), []string{`provider "acme": a base URL is needed`}},
	} {
		bad := expand(strings.Replace(strict, test.replace, test.with, 1), g.ports())
		status, text := g.send(t, "POST", "/load", "text/caddyfile", bad)
		var answer struct{ Error string }
		_ = json.Unmarshal([]byte(text), &answer)
		for _, part := range test.says {
			if status != 400 || !strings.Contains(answer.Error, part) {
				t.Errorf("%s: got %d %s, want it to say %s", name, status, text, part)
			}
		}
		if strings.Contains(text, "sim-good") || strings.Contains(text, "clp-clear") {
			t.Errorf("%s: the answer holds a key: %s", name, text)
		}
		path := filepath.Join(t.TempDir(), "Caddyfile")
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(binary, "validate", "--config", path, "--adapter", "caddyfile").CombinedOutput()
		if err == nil || !strings.Contains(string(out), strings.ReplaceAll(test.says[0], `"`, `\"`)) && !strings.Contains(string(out), test.says[0]) {
			t.Errorf("%s: caddy validate says %v %s", name, err, out)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if status, text := g.do(t, "POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", "gpt-1", 1)); status != 200 {
		t.Errorf("the config that was good is gone: %d %s", status, text)
	}
}
