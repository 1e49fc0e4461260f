// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	ws "github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
)

// echoUpstream is a provider over TLS that prefers HTTP/2, where it has no
// sessions; over HTTP/1.1 it says everything back.
func echoUpstream(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/realtime" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"proto":"`+r.Proto+`"}`)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(-1)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// tunnel is a session over one stream of a later version of HTTP.
type tunnel struct {
	io.Writer
	io.Reader
	close func()
	res   *http.Response
}

// connect asks for a session by extended CONNECT.
func connect(t *testing.T, transport http.RoundTripper, url string, field func(*http.Request)) *tunnel {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	body, mine := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodConnect, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key."+clientKey)
	field(req)
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return &tunnel{mine, res.Body, func() { _ = mine.Close() }, res}
}

// A client may use any version of HTTP; the provider is asked over HTTP/1.1,
// although its other calls go over HTTP/2.
func TestSessionsOverEveryVersionOfHTTP(t *testing.T) {
	g := start(t, strings.Replace(`{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	http_port 0
	servers {
		timeouts {
			read_body_idle 200ms
		}
	}
}
https://localhost:GATEWAY {
	tls internal
	llm_proxy {
		client app CLIENT {
			limit concurrent 100
		}
		provider openai UPSTREAM {
			key sk-canary
			transport http {
				tls_insecure_skip_verify
			}
		}
	}
}
`, "UPSTREAM", echoUpstream(t), 1), "GODEBUG=http2xconnect=1")
	g.await(t, "certificate obtained successfully")
	g.url = strings.Replace(g.url, "http://127.0.0.1", "https://localhost", 1)
	insecure := &tls.Config{InsecureSkipVerify: true} // the certificate is Caddy's own
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure.Clone()}}
	res, err := client.Do(g.newRequest(t, "GET", "/v1/models", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, body := readAll(t, res); body != `{"proto":"HTTP/2.0"}` {
		t.Fatalf("the provider is asked %s", body)
	}

	opts := withKey()
	opts.HTTPClient = client
	c := g.talk(t, realtimePath, opts)
	c.say(responseDone)
	c.mustHear("response.done")
	_ = c.conn.Close(websocket.StatusNormalClosure, "")
	calls := 2
	if call := g.awaitCalls(t, calls)[calls-1]; call["llm_outcome"] != "ok" || call["llm_output_tokens"] != 7.0 {
		t.Errorf("HTTP/1.1: the log says %v", call)
	}

	two := &http2.Transport{TLSClientConfig: insecure.Clone()} //nolint:staticcheck // net/http's own sends no extended CONNECT
	three := &http3.Transport{TLSClientConfig: insecure.Clone()}
	t.Cleanup(func() { _ = three.Close() })
	for _, version := range []struct {
		name      string
		transport http.RoundTripper
		field     func(*http.Request)
	}{
		{"HTTP/2", two, func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} }},
		{"HTTP/3", three, func(r *http.Request) { r.Proto = "websocket" }},
	} {
		tunnel := connect(t, version.transport, g.url+realtimePath, version.field)
		if tunnel.res.StatusCode != 200 || tunnel.res.Header.Get("Sec-Websocket-Protocol") != "" {
			t.Fatalf("%s: got %s %v", version.name, tunnel.res.Status, tunnel.res.Header)
		}
		for _, message := range []struct {
			first   byte
			payload string
		}{{ws.Last | ws.Text, responseDone}, {ws.Close, "\x03\xe8"}} {
			time.Sleep(300 * time.Millisecond) // a session may be silent for longer than a body
			_, _ = tunnel.Write(ws.Frame(message.first, []byte(message.payload), mask))
			want := ws.Frame(message.first, []byte(message.payload), nil)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(tunnel, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %q, %v", version.name, got, err)
			}
		}
		tunnel.close()
		ended(t, version.name+" client", tunnel)
		calls++
		if call := g.awaitCalls(t, calls)[calls-1]; call["llm_outcome"] != "ok" || call["llm_output_tokens"] != 7.0 || call["llm_client"] != "app" {
			t.Errorf("%s: the log says %v", version.name, call)
		}

		// A client that is gone is noticed as well.
		gone := connect(t, version.transport, g.url+realtimePath, version.field)
		gone.close()
		ended(t, version.name+" client", gone)
		calls++
		if call := g.awaitCalls(t, calls)[calls-1]; call["llm_outcome"] != "canceled" {
			t.Errorf("%s, gone: the log says %v", version.name, call)
		}

		// There is a door here, too, and no other way in.
		for path, status := range map[string]int{"/v1/models": 405, "/v1/realtime?model=a&model=b": 400} {
			if refused := connect(t, version.transport, g.url+path, version.field); refused.res.StatusCode != status {
				t.Errorf("%s %s: got %s", version.name, path, refused.res.Status)
			}
			calls++
		}
		wrong := connect(t, version.transport, g.url+realtimePath, func(r *http.Request) {
			version.field(r)
			r.Header.Set("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.wrong")
		})
		if wrong.res.StatusCode != 401 {
			t.Errorf("%s, wrong key: got %s", version.name, wrong.res.Status)
		}
		calls++
		g.awaitCalls(t, calls)
	}
}
