// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"
)

// provider records what it is sent, head and body.
type provider struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := new(provider)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := httputil.DumpRequest(r, true)
		p.mu.Lock()
		p.requests = append(p.requests, string(text))
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}))
	t.Cleanup(p.Close)
	return p
}

// take returns what came since the last time.
func (p *provider) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.requests
	p.requests = nil
	return taken
}

// inFront starts a gateway in front of the provider. Its logs show everything.
func inFront(t *testing.T, p *provider) *gateway {
	t.Helper()
	return start(t, strings.ReplaceAll(`{
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
			request>uri query {
				delete key
			}
		}
	}
	llm_proxy {
		client app CLIENT {
			models gpt-4o gemini-2.5-flash
			limit concurrent 100
		}
		provider openai PROVIDER/v1 {
			key sk-canary-openai
		}
		provider anthropic PROVIDER {
			key sk-canary-anthropic
		}
		provider gemini PROVIDER {
			key sk-canary-gemini
		}
	}
}
`, "PROVIDER", p.URL))
}

// raw sends bytes as they are and returns the first answer, and what follows
// it until the gateway closes the connection or falls silent.
func (g *gateway) raw(t *testing.T, text string) (status int, body, rest string) {
	t.Helper()
	conn, err := net.Dial("tcp", g.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, "", ""
	}
	content, _ := io.ReadAll(res.Body)
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	more, _ := io.ReadAll(reader)
	return res.StatusCode, string(content), string(more)
}

// post spells a request with a body out.
func (g *gateway) post(path, body string, header ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
		path, g.url[len("http://"):], len(body), strings.Join(append(header, ""), "\r\n"), body)
}

const bearer = "Authorization: Bearer " + clientKey

// A client cannot have headers taken away or smuggled in by calling them
// hop-by-hop: the provider gets its own key, and nothing of the client's.
func TestHopByHopTricks(t *testing.T) {
	p := newProvider(t)
	g := inFront(t, p)
	for name, header := range map[string][]string{
		"authorization": {bearer, "Connection: close, authorization"},
		"all keys":      {bearer, "Connection: authorization, x-api-key, x-goog-api-key, anthropic-version, host, content-length"},
		"proxy":         {bearer, "Proxy-Authorization: Basic " + clientKey, "Proxy-Connection: keep-alive", "Keep-Alive: 5", "TE: trailers"},
		"upgrade":       {bearer, "Connection: upgrade", "Upgrade: websocket"},
		"h2c":           {bearer, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"},
		"many keys":     {bearer, "X-Api-Key: " + clientKey, "Api-Key: " + clientKey, "X-Goog-Api-Key: " + clientKey, "Cookie: key=" + clientKey},
		"expect":        {bearer, "Expect: 100-continue"},
	} {
		t.Run(name, func(t *testing.T) {
			request := g.post("/v1/chat/completions", chatBody, header...)
			if strings.Contains(request, "Connection: a") || strings.Contains(request, "Connection: u") || strings.Contains(request, "Connection: U") {
				request = strings.Replace(request, "Connection: close\r\n", "", 1)
			}
			status, body, rest := g.raw(t, request)
			sent := p.take()
			if status == http.StatusContinue {
				status, body = 200, rest
			}
			if status != 200 || len(sent) != 1 {
				t.Fatalf("got %d %s; the provider was asked %d times", status, body, len(sent))
			}
			if !strings.Contains(sent[0], "Authorization: Bearer sk-canary-openai\r\n") || !strings.HasSuffix(sent[0], chatBody) {
				t.Errorf("the provider was sent\n%s", sent[0])
			}
			for _, secret := range []string{clientKey, "sk-canary-anthropic", "Upgrade", "Proxy-"} {
				if strings.Contains(sent[0], secret) {
					t.Errorf("the provider was sent %s:\n%s", secret, sent[0])
				}
			}
		})
	}
}

// Requests whose end is in doubt are not taken for two.
func TestRequestSmuggling(t *testing.T) {
	p := newProvider(t)
	g := inFront(t, p)
	inner := g.post("/v1/chat/completions", strings.Replace(chatBody, "Tell", "Smuggled", 1), bearer)
	host := g.url[len("http://"):]
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: " + host + "\r\n" + bearer + "\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"both lengths":       head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", 5+len(inner), inner),
		"two lengths":        head + fmt.Sprintf("Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s%s", len(chatBody), len(chatBody)+len(inner), chatBody, inner),
		"a list of lengths":  head + fmt.Sprintf("Content-Length: %d, %d\r\n\r\n%s%s", len(chatBody), len(chatBody)+len(inner), chatBody, inner),
		"signed length":      head + fmt.Sprintf("Content-Length: +%d\r\n\r\n%s%s", len(chatBody), chatBody, inner),
		"odd encoding":       head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n%s%s", len(chatBody), chatBody, inner),
		"space before colon": head + fmt.Sprintf("Content-Length : %d\r\n\r\n%s", len(inner), inner),
		"folded header":      head + fmt.Sprintf("X-A: b\r\n Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s%s", len(chatBody), chatBody, inner),
		"bare newline":       "POST /v1/chat/completions HTTP/1.1\nHost: " + host + "\n" + bearer + "\nContent-Type: application/json\n" + fmt.Sprintf("Content-Length: %d\n\n%s", len(chatBody), chatBody),
		"NUL in a header":    head + "X-A: b\x00c\r\nContent-Length: 0\r\n\r\n",
		"chunk extension":    head + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n{}\r\n0\r\n\r\n" + inner,
	} {
		t.Run(name, func(t *testing.T) {
			status, body, _ := g.raw(t, request)
			sent := p.take()
			for _, text := range sent {
				// A request that the client pipelined is its own, and stands
				// by itself: never within another's body.
				if strings.Contains(text, "Smuggled") && strings.Contains(text, "Tell") || strings.Contains(text, "POST /v1/chat/completions HTTP/1.1\r\nHost: "+host) {
					t.Errorf("the provider was sent\n%s", text)
				}
			}
			if status == 200 && len(sent) > 2 {
				t.Errorf("got %d %s; the provider was asked %d times", status, body, len(sent))
			}
			if status == 0 {
				t.Error("no answer")
			}
		})
	}
}

// No path and no model's name leads anywhere but to the API that it says.
func TestPathsDontEscape(t *testing.T) {
	p := newProvider(t)
	g := inFront(t, p)
	for _, path := range []string{
		"/v1/../admin", "/v1/%2e%2e/admin", "/v1/%2E%2e%2fadmin", "/v1/..%5cadmin", "/v1//chat/completions", "//v1/chat/completions",
		"/v1/chat/completions%00", "/v1/chat%0d%0aX-Evil:%20yes/completions", "/v1/chat/completions/%252e%252e/admin",
		"/v1/;/chat/completions", "/v1/..;/admin", "/v1/chat/%ff%fe", "/v1/" + strings.Repeat("a", 5000),
		"/v1beta/models/gemini-2.5-flash%0d%0aX:generateContent", "/v1beta/models/..%2f..%2fadmin:generateContent",
		"/v1beta/models/%2e%2e:generateContent", "/v1beta/models/" + strings.Repeat("g", 4000) + ":generateContent",
		"/simulator/stats", "/metrics", "/", "/v1", "/V1/chat/completions/../../x",
	} {
		if status, body, _ := g.raw(t, g.post(path, chatBody, bearer)); status != 404 && status != 400 && status != 403 {
			t.Errorf("%.60s: got %d %s", path, status, body)
		}
	}
	for name, body := range map[string]string{
		"newline": `{"model":"gpt-4o\r\nX-Evil: yes","messages":[]}`, "NUL": `{"model":"gpt-4o\u0000","messages":[]}`,
		"overlong": `{"model":"` + strings.Repeat("g", 100_000) + `","messages":[]}`, "empty": `{"model":" ","messages":[]}`,
		"half a pair": `{"model":"\ud800","messages":[]}`, "raw bytes": "{\"model\":\"\xff\xfe\"}",
	} {
		if status, text, _ := g.raw(t, g.post("/v1/chat/completions", body, bearer)); status != 400 && status != 403 {
			t.Errorf("model, %s: got %d %s", name, status, text)
		}
	}
	if sent := p.take(); len(sent) != 0 {
		t.Errorf("the provider was asked %q", sent)
	}
}

// A key in the URL goes no further: not to the provider, not into a log.
func TestKeyInTheURLIsScrubbed(t *testing.T) {
	p := newProvider(t)
	g := inFront(t, p)
	for _, query := range []string{"key=" + clientKey, "alt=sse&key=" + clientKey + "&x=1", "%6bey=" + clientKey, "key=" + clientKey + "&key=other-canary"} {
		status, body, _ := g.raw(t, g.post("/v1beta/models/gemini-2.5-flash:generateContent?"+query, `{"contents":[]}`))
		sent := p.take()
		if status != 200 || len(sent) != 1 {
			t.Fatalf("%s: got %d %s", query, status, body)
		}
		if strings.Contains(sent[0], clientKey) || strings.Contains(sent[0], "canary&") || strings.Contains(sent[0], "other-canary") {
			t.Errorf("the provider was sent\n%s", sent[0])
		}
	}
	g.awaitCalls(t, 4)
	log := g.Output()
	if at := strings.Index(strings.ReplaceAll(log, "%6bey="+clientKey, ""), clientKey); at >= 0 {
		t.Errorf("the log says …%s…", log[max(0, at-200):min(len(log), at+60)])
	}
}

// Heads and bodies beyond their bounds are refused, whatever they claim.
func TestBounds(t *testing.T) {
	p := newProvider(t)
	g := inFront(t, p)
	if status, _, _ := g.raw(t, g.post("/v1/chat/completions", chatBody, bearer, "X-Long: "+strings.Repeat("x", 2<<20))); status != 431 && status != 0 {
		t.Errorf("a head of 2 MiB: %d", status)
	}
	big := g.newRequest(t, "POST", "/v1/chat/completions", "")
	big.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"model":"`), bytes.NewReader(make([]byte, 40<<20))))
	big.ContentLength = -1
	if res, err := http.DefaultClient.Do(big); err == nil {
		if status, text := readAll(t, res); status != 413 {
			t.Errorf("a body of 40 MiB: %d %s", status, text)
		}
	}
	if sent := p.take(); len(sent) != 0 {
		t.Errorf("the provider was asked %d times", len(sent))
	}
}
