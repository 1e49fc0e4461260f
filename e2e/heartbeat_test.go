// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

const comment = ": keep-alive\n\n"

// Over every version of HTTP, a stream that is silent gets comments, and
// nothing else is changed.
func TestSilentStreamIsKeptAlive(t *testing.T) {
	words := []string{"one", "two"}
	address, next := gatedUpstream(t, words)
	g := start(t, strings.ReplaceAll(strings.Replace(overTLS, "client app", "heartbeat 1s\n\t\tclient app", 1), "UPSTREAM", address))
	g.await(t, "certificate obtained successfully")
	base := strings.Replace(g.url, "http://127.0.0.1", "https://localhost", 1)
	insecure := &tls.Config{InsecureSkipVerify: true} // the certificate is Caddy's own
	one := new(http.Protocols)
	one.SetHTTP1(true)

	var sent strings.Builder
	for _, word := range words {
		sent.WriteString(`data: {"model":"m","choices":[{"index":0,"delta":{"content":"` + word + `"},"finish_reason":null}]}` + "\n\n")
	}
	sent.WriteString(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n")
	for proto, transport := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{TLSClientConfig: insecure.Clone(), Protocols: one},
		"HTTP/2.0": &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true},
		"HTTP/3.0": &http3.Transport{TLSClientConfig: insecure.Clone()},
	} {
		t.Run(proto, func(t *testing.T) {
			req := g.newRequest(t, "POST", "/v1/chat/completions", chatStreamBody)
			req.URL.Scheme, req.URL.Host = "https", strings.TrimPrefix(base, "https://")
			req.Host = req.URL.Host
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var got bytes.Buffer
			lines := bufio.NewReader(io.TeeReader(res.Body, &got))
			for _, word := range words {
				awaitLine(t, lines, `"`+word+`"`)
				awaitLine(t, lines, ": keep-alive")
				next <- struct{}{}
			}
			if _, err := io.Copy(io.Discard, lines); err != nil {
				t.Fatal(err)
			}
			if text := strings.ReplaceAll(got.String(), comment, ""); text != sent.String() || res.Proto != proto {
				t.Errorf("over %s, without comments, got %q, want %q", res.Proto, text, sent.String())
			}
		})
	}
}

const pausing = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		heartbeat 1s
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		provider gemini http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		delay 1500ms
		chunks 2
	}
}
`

// Google's SDKs take every line for data, so its streams get no comments.
func TestCommentsAreForThoseWhoKnowThem(t *testing.T) {
	g := start(t, pausing)
	for _, test := range []struct {
		path, body string
		comments   bool
	}{
		{"/v1/chat/completions", chatStreamBody, true},
		{"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", `{"contents":[{"parts":[{"text":"Tell me a story"}]}]}`, false},
	} {
		status, text := g.do(t, "POST", test.path, test.body)
		if status != 200 || strings.Contains(text, comment) != test.comments {
			t.Errorf("%s: got %d %s", test.path, status, text)
		}
	}
}

// Comments pass through what compresses answers in front.
func TestCommentsAreCompressedLikeTheRest(t *testing.T) {
	g := start(t, strings.Replace(pausing, "llm_proxy {", "encode {\n\t\tgzip\n\t\tminimum_length 1\n\t}\n\tllm_proxy {", 1))
	res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", chatStreamBody))
	if err != nil {
		t.Fatal(err)
	}
	status, text := readAll(t, res)
	if status != 200 || !res.Uncompressed || !strings.Contains(text, comment) || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("got %d, compressed: %t, %s", status, res.Uncompressed, text)
	}
}

const slowRescue = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		heartbeat 1s
		provider openai UPSTREAM {
			key sim-good
		}
		model gpt-4o openai/first openai/second
		rescue resume
	}
}
`

// The client of a broken stream is kept as well while another is looked for.
func TestClientIsKeptDuringARescue(t *testing.T) {
	text := func(word string) string {
		return `data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"` + word + ` "},"finish_reason":null}]}` + "\n\n"
	}
	const end = `data: {"id":"x","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		if strings.Contains(string(body), `"first"`) {
			_, _ = io.WriteString(w, text("once")+text("upon")[:20])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		time.Sleep(2500 * time.Millisecond) // longer than the heartbeat of a real gateway
		_, _ = io.WriteString(w, text("once")+text("upon")+text("a")+text("time")+end)
	}))
	t.Cleanup(upstream.Close)
	g := start(t, strings.ReplaceAll(slowRescue, "UPSTREAM", upstream.URL))
	status, got := g.do(t, "POST", "/v1/chat/completions", chatStreamBody)
	if status != 200 || !strings.HasPrefix(got, text("once")+comment) {
		t.Errorf("got %d %s", status, got)
	}
	var said strings.Builder
	for line := range strings.Lines(got) {
		_, rest, _ := strings.Cut(line, `"content":"`)
		word, _, _ := strings.Cut(rest, `"`)
		said.WriteString(word)
	}
	if said.String() != "once upon a time " || !strings.HasSuffix(got, "data: [DONE]\n\n") {
		t.Errorf("the answer is %q: %s", said.String(), got)
	}
	if call := g.awaitCalls(t, 1)[0]; call["llm_outcome"] != "ok" {
		t.Errorf("the log says %v", call)
	}
}

// A stream that is shown to its client before anything of it has come is kept
// alive from its head on.
func TestStreamIsKeptAliveFromItsHeadOn(t *testing.T) {
	const text = `data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"late"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		time.Sleep(200 * time.Millisecond) // longer than first_token
		_ = http.NewResponseController(w).Flush()
		time.Sleep(1500 * time.Millisecond) // longer than the heartbeat
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(upstream.Close)
	config := strings.Replace(slowRescue, "rescue resume", "timeouts {\n\t\t\tfirst_token 100ms\n\t\t}", 1)
	g := start(t, strings.ReplaceAll(strings.Replace(config, " openai/second", "", 1), "UPSTREAM", upstream.URL))
	if status, got := g.do(t, "POST", "/v1/chat/completions", chatStreamBody); status != 200 || got != comment+text {
		t.Errorf("got %d %q", status, got)
	}
}
