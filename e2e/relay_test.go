// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// bothCarriers has the same provider behind llm_relay and, as there is an option
// of it, behind reverse_proxy.
const bothCarriers = head + `
http://127.0.0.1:GATEWAY {
	llm_proxy {
		anonymous
		provider openai PROVIDER {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_proxy {
		anonymous
		provider openai PROVIDER {
			key sim-good
		}
		flush_interval -1
	}
}
`

const chatAnswer = `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`

const chatEvent = `data: {"model":"m","choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}` + "\n\n"

// What a client sees of an answer, and a provider of a request, does not depend
// on which of the two handlers carries the call.
func TestRelayDoesWhatReverseProxyDoes(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"an answer whose length is stated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header()["X-Twice"] = []string{"a", "b"}
			_, _ = io.WriteString(w, chatAnswer)
		},
		"hop-by-hop fields": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Connection", "X-Hop")
			w.Header().Set("X-Hop", "1")
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Set("Server", "provider")
			w.Header().Set("Via", "1.0 front")
			_, _ = io.WriteString(w, chatAnswer)
		},
		"a large answer in pieces": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, strings.TrimSuffix(chatAnswer, "}")+`,"pad":"`)
			for range 40 {
				_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.WriteString(w, `"}`)
		},
		"a stream": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for range 20 {
				_, _ = io.WriteString(w, chatEvent)
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.WriteString(w, "data: [DONE]\n\n")
		},
		"a stream that breaks": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, chatEvent)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"an answer that breaks": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "200000")
			_, _ = io.WriteString(w, strings.TrimSuffix(chatAnswer, "}")+strings.Repeat(" ", 100_000))
			panic(http.ErrAbortHandler)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"no","type":"invalid_request_error"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]int{}
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				mu.Lock()
				asked[fmt.Sprint(r.Header)]++
				mu.Unlock()
				answer(w, r)
			}))
			defer provider.Close()
			g := start(t, strings.ReplaceAll(bothCarriers, "PROVIDER", provider.URL))
			stream := strings.Contains(name, "stream")
			relayed, proxied := exchange(t, g.url, stream), exchange(t, g.sim, stream)
			if relayed != proxied {
				t.Errorf("llm_relay answers\n%s\nreverse_proxy answers\n%s", relayed, proxied)
			}
			if len(asked) != 1 {
				t.Errorf("the provider is asked with different headers: %v", asked)
			}
		})
	}
}

// requestID is what no two calls have in common.
var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// exchange makes a call with a header that is not all for the provider, and
// spells the answer.
func exchange(t *testing.T, base string, stream bool) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, base+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(`{"model":"m","stream":%t,"messages":[]}`, stream)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": nil,
		"Connection": {"X-Hop, X-Other-Hop"}, "X-Hop": {"1"}, "X-Other-Hop": {"2"}, "Te": {"trailers"}, "Keep-Alive": {"1"},
		"Proxy-Authorization": {"Basic eA=="}, "X-Forwarded-For": {"1.2.3.4"}, "X-Custom": {"a", "b"}, "Upgrade": {"h2c"},
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	var text strings.Builder
	fmt.Fprintln(&text, res.Status, "length", res.ContentLength, "broken", errors.Is(err, io.ErrUnexpectedEOF))
	for _, name := range slices.Sorted(maps.Keys(res.Header)) {
		if name != "Date" {
			fmt.Fprintln(&text, name, res.Header[name])
		}
	}
	text.Write(bytes.TrimRight(requestID.ReplaceAll(body, nil), " "))
	return text.String()
}

// A client that goes away while it waits for the head ends the provider's work.
func TestRelayEndsWithItsClient(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
		close(gone)
	}))
	defer provider.Close()
	g := start(t, strings.ReplaceAll(bothCarriers, "PROVIDER", provider.URL))
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-arrived
		leave()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Fatal("an answer came of nothing")
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the provider goes on with its work")
	}
	g.await(t, `"llm_outcome":"canceled"`)
}

// The head of a stream reaches its client before there is anything to pass on.
func TestRelayLetsTheClientSeeTheHead(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "late")
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	g := start(t, strings.ReplaceAll(bothCarriers, "PROVIDER", "http://"+listener.Addr().String()))
	client := &http.Client{Timeout: patience}
	res, err := client.Get(g.url + "/v1/files/file-1/content")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	close(next)
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "late" {
		t.Errorf("the client got %q, %v", body, err)
	}
}
