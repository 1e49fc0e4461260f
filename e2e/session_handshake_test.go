// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answerAll has a function answer whoever asks the provider.
func (p *bareProvider) answerAll(t *testing.T, answer func(m *meeting)) {
	t.Helper()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	go func() {
		for {
			select {
			case m := <-p.met:
				answer(m)
			case <-over:
				return
			}
		}
	}()
}

// without returns the fields of the usual handshake that do not begin so.
func without(beginning string, more ...string) []string {
	var fields []string
	for _, field := range handshake {
		if !strings.HasPrefix(field, beginning) {
			fields = append(fields, field)
		}
	}
	return append(fields, more...)
}

// The provider gets its own key and the client's subprotocols, but nothing by
// which the client has made itself known, and is not asked for extensions.
func TestHandshakeThatTheProviderGets(t *testing.T) {
	p := newBareProvider(t)
	g := inFrontOf(t, p.url, "model alias openai/gpt-realtime", "model * openai gemini azure")
	bare := without("Sec-WebSocket-Protocol", "Origin: http://elsewhere", "Cookie: a=b", "X-Forwarded-For: 1.2.3.4")
	for name, test := range map[string]struct {
		path   string
		fields []string
		uri    string
		header map[string]string
	}{
		"subprotocols": {
			realtimePath, handshake, "/v1/realtime?model=gpt-realtime",
			map[string]string{"Authorization": "Bearer sk-canary-", "Sec-Websocket-Protocol": "realtime, openai-beta.realtime-v1"},
		},
		"another model": {
			"/v1/realtime?model=alias&x=%2f", append(bare, bearer), "/v1/realtime?model=gpt-realtime&x=%2f",
			map[string]string{"Authorization": "Bearer sk-canary-", "Sec-Websocket-Protocol": ""},
		},
		"Azure's query": {
			"/openai/realtime?api-version=1&deployment=d&api-key=" + clientKey, bare, "/openai/realtime?api-version=1&deployment=d",
			map[string]string{"Api-Key": "sk-canary-azure", "Authorization": ""},
		},
		"Azure's token in the query": {
			"/openai/v1/realtime?model=d&authorization=Bearer%20" + clientKey, bare, "/openai/v1/realtime?model=d",
			map[string]string{"Api-Key": "sk-canary-azure", "Authorization": ""},
		},
		"Google's query": {
			livePath + "?key=" + clientKey, bare, livePath,
			map[string]string{"X-Goog-Api-Key": "sk-canary-google", "Authorization": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := g.rawDial(t, test.path, test.fields...)
			m := p.meet(t)
			m.shake()
			if res := client.answer(t); res.StatusCode != 101 {
				t.Fatalf("got %s", res.Status)
			}
			if m.request.RequestURI != test.uri || m.request.Method != "GET" || m.request.Host != p.url[len("http://"):] {
				t.Errorf("the provider is asked %s %s of %s", m.request.Method, m.request.RequestURI, m.request.Host)
			}
			test.header["Upgrade"], test.header["Connection"] = "websocket", "Upgrade"
			test.header["Sec-Websocket-Key"], test.header["Sec-Websocket-Version"] = "dGhlIHNhbXBsZSBub25jZQ==", "13"
			for field, want := range test.header {
				if got := m.request.Header.Get(field); !strings.HasPrefix(got, want) || want == "" && got != "" {
					t.Errorf("%s: %q", field, got)
				}
			}
			for _, field := range []string{"Sec-Websocket-Extensions", "Origin", "Cookie", "X-Forwarded-For", "Via"} {
				if got := m.request.Header.Get(field); got != "" {
					t.Errorf("%s: %q", field, got)
				}
			}
			if all := fmt.Sprint(m.request.Header, m.request.RequestURI); strings.Contains(all, clientKey) {
				t.Errorf("the client's key is sent on: %s", all)
			}
		})
	}
}

// Who may not open a session is told so over HTTP, and no provider is asked.
func TestSessionsThatAreRefused(t *testing.T) {
	p := newBareProvider(t)
	p.answerAll(t, func(m *meeting) { t.Errorf("the provider is asked %s", m.request.RequestURI) })
	g := start(t, strings.ReplaceAll(head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT {
			models gpt-realtime
		}
		provider openai PROVIDER {
			key sk-canary
		}
		provider gemini PROVIDER {
			key sk-canary
		}
	}
}
`, "PROVIDER", p.url))
	wrong := without("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.wrong")
	for name, test := range map[string]struct {
		path   string
		fields []string
		status int
		code   string
	}{
		"wrong key":          {realtimePath, wrong, 401, "invalid_api_key"},
		"no key":             {realtimePath, without("Sec-WebSocket-Protocol"), 401, "invalid_api_key"},
		"key of an upstream": {realtimePath, without("Sec-WebSocket-Protocol", "Authorization: Bearer sk-canary"), 401, "invalid_api_key"},
		"no upgrade":         {realtimePath, []string{bearer}, 426, "upgrade_required"},
		"upgrade to h2c":     {realtimePath, []string{bearer, "Connection: Upgrade", "Upgrade: h2c"}, 426, "upgrade_required"},
		"choice of upgrades": {realtimePath, []string{bearer, "Connection: Upgrade", "Upgrade: websocket, h2c"}, 426, "upgrade_required"},
		"no version":         {realtimePath, without("Sec-WebSocket-Version", bearer), 426, "upgrade_required"},
		"an old version":     {realtimePath, without("Sec-WebSocket-Version", bearer, "Sec-WebSocket-Version: 8"), 426, "upgrade_required"},
		"no nonce":           {realtimePath, without("Sec-WebSocket-Key", bearer), 400, "invalid_handshake"},
		"a short nonce":      {realtimePath, without("Sec-WebSocket-Key", bearer, "Sec-WebSocket-Key: YQ=="), 400, "invalid_handshake"},
		"a strange protocol": {realtimePath, without("Sec-WebSocket-Protocol", bearer, "Sec-WebSocket-Protocol: real time"), 400, "invalid_handshake"},
		"two models":         {realtimePath + "&model=gpt-4o", handshake, 400, "invalid_model"},
		"another model":      {"/v1/realtime?model=gpt-4o", handshake, 403, "model_not_allowed"},
		"no model":           {"/v1/realtime?intent=transcription", handshake, 403, "model_not_allowed"},
		"model in a message": {livePath, handshake, 403, "model_not_allowed"},
		"many responses":     {"/v1/responses", handshake, 403, "model_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			res := g.rawDial(t, test.path, test.fields...).answer(t)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != test.status || !strings.Contains(string(body), `"`+test.code+`"`) {
				t.Errorf("got %d %s", res.StatusCode, body)
			}
			if res.StatusCode == http.StatusUpgradeRequired && (res.Header.Get("Upgrade") != "websocket" || res.Header.Get("Sec-WebSocket-Version") != "13") {
				t.Errorf("header %v", res.Header)
			}
		})
	}
}

// No connection becomes a tunnel to the provider: not where there are no
// sessions, whatever the provider says, and not where what it says is not what
// the client has asked for.
func TestNoConnectionBecomesATunnel(t *testing.T) {
	p := newBareProvider(t)
	said := make(chan string, 1)
	p.answerAll(t, func(m *meeting) {
		if m.request.Header.Get("Upgrade") != "" && !strings.HasPrefix(m.request.RequestURI, "/v1/realtime") {
			t.Errorf("%s asks for an upgrade", m.request.RequestURI)
		}
		answer := <-said
		said <- answer
		if answer == "shake" {
			m.shake("Sec-WebSocket-Protocol: openai-insecure-api-key." + clientKey)
		} else {
			_, _ = io.WriteString(m.Conn, answer)
		}
		_ = m.Conn.Close()
	})
	const switches = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	for name, test := range map[string]struct{ path, answer string }{
		"no session":             {"/v1/models", switches + accept + "\r\n"},
		"no proof":               {realtimePath, switches + "\r\n"},
		"another's proof":        {realtimePath, switches + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"},
		"another protocol":       {realtimePath, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + accept + "\r\n"},
		"an extension":           {realtimePath, switches + accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
		"an unknown subprotocol": {realtimePath, "shake"},
		"an ordinary answer":     {realtimePath, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"},
	} {
		t.Run(name, func(t *testing.T) {
			// A gateway of its own: what was wrong here closes the upstream.
			g := inFrontOf(t, p.url)
			said <- test.answer
			defer func() { <-said }()
			res := g.rawDial(t, test.path, append(handshake, bearer)...).answer(t)
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != 502 || !strings.Contains(string(body), `"upstream_error"`) {
				t.Errorf("got %d %v %s", res.StatusCode, res.Header, body)
			}
			if call := g.awaitCalls(t, 1)[0]; call["llm_outcome"] == "ok" || !strings.Contains(fmt.Sprint(call["llm_attempts"]), ":upstream:") {
				t.Errorf("the log says %v", call)
			}
		})
	}
}

// Pages of other hosts may use a key of the gateway, but not the place in the
// network, or the cookie, by which a browser's user is known.
func TestForeignPagesNeedAKey(t *testing.T) {
	p := newBareProvider(t)
	for name, test := range map[string]struct {
		option, origin string
		status         int
	}{
		"anonymous, another host": {"anonymous", "https://evil.example", 403},
		"anonymous, no host":      {"anonymous", "null", 403},
		"anonymous, own page":     {"anonymous", "", 101},
		"trusted, another host":   {"trust_user {header.X-User}", "https://evil.example", 403},
		"trusted, own page":       {"trust_user {header.X-User}", "", 101},
		"key, another host":       {"client app CLIENT", "https://evil.example", 101},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, strings.NewReplacer("PROVIDER", p.url, "OPTION", test.option).Replace(head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		OPTION
		provider openai PROVIDER {
			key sk-canary
		}
	}
}
`))
			if test.origin == "" {
				test.origin = g.url
			}
			client := g.rawDial(t, realtimePath, append(handshake, "Origin: "+test.origin, "X-User: alice")...)
			if test.status == 101 {
				p.meet(t).shake()
			}
			res := client.answer(t)
			if res.StatusCode != test.status {
				body, _ := io.ReadAll(res.Body)
				t.Errorf("got %d %s", res.StatusCode, body)
			}
		})
	}
}
