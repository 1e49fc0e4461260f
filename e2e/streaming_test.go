// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

const overTLS = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	http_port 0
}
https://localhost:GATEWAY {
	tls internal
	llm_proxy {
		rate_limit ip 1000 1m
		rate_limit global 1000 1m
		client app CLIENT {
			limit tokens 1000000 1h
			limit concurrent 100
		}
		provider openai http://UPSTREAM {
			key sim-good
		}
	}
}
`

// gatedUpstream sends each word of a stream only when it is told to. An event
// that anybody on the way holds back would hang the test.
func gatedUpstream(t *testing.T, words []string) (address string, next chan struct{}) {
	t.Helper()
	next = make(chan struct{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range words {
			_, _ = io.WriteString(w, `data: {"model":"m","choices":[{"index":0,"delta":{"content":"`+word+`"},"finish_reason":null}]}`+"\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String(), next
}

// Over every version of HTTP, each event reaches the client before the
// provider sends the next one.
func TestEventsArriveOneByOne(t *testing.T) {
	words := []string{"one", "two", "three", "four", "five"}
	address, next := gatedUpstream(t, words)
	g := start(t, strings.ReplaceAll(overTLS, "UPSTREAM", address))
	g.await(t, "certificate obtained successfully")
	base := strings.Replace(g.url, "http://127.0.0.1", "https://localhost", 1)
	insecure := &tls.Config{InsecureSkipVerify: true} // the certificate is Caddy's own
	one := new(http.Protocols)
	one.SetHTTP1(true)

	for proto, transport := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{TLSClientConfig: insecure.Clone(), Protocols: one},
		"HTTP/2.0": &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true},
		"HTTP/3.0": &http3.Transport{TLSClientConfig: insecure.Clone()},
	} {
		t.Run(proto, func(t *testing.T) {
			req, err := http.NewRequestWithContext(context.Background(), "POST", base+"/v1/chat/completions", strings.NewReader(chatStreamBody))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+clientKey)
			req.Header.Set("Content-Type", "application/json")
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.Proto != proto || res.StatusCode != 200 {
				t.Fatalf("got %s %d", res.Proto, res.StatusCode)
			}
			lines := bufio.NewReader(res.Body)
			for _, word := range words {
				awaitLine(t, lines, `"`+word+`"`)
				next <- struct{}{}
			}
			awaitLine(t, lines, "[DONE]")
		})
	}
}

func awaitLine(t *testing.T, lines *bufio.Reader, part string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, part) {
			return
		}
		if err != nil {
			t.Fatalf("waiting for %s: %v", part, err)
		}
	}
}
