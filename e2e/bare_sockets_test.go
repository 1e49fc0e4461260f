// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// bareProvider takes connections as they are: what it says is spelled out by
// each test.
type bareProvider struct {
	url string
	// met are the handshakes and the connections that they came on.
	met chan *meeting
}

type meeting struct {
	net.Conn
	*bufio.Reader
	request *http.Request
}

// Read reads what the reader has not taken yet, and then on.
func (m *meeting) Read(p []byte) (int, error) { return m.Reader.Read(p) }

func newBareProvider(t *testing.T) *bareProvider {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &bareProvider{url: "http://" + listener.Addr().String(), met: make(chan *meeting, 100)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				reader := bufio.NewReader(patientConn{conn})
				if request, err := http.ReadRequest(reader); err == nil {
					p.met <- &meeting{conn, reader, request}
				}
			}()
		}
	}()
	return p
}

// patience is how long a test waits for something that is to happen at once. It
// is for what never happens, not for machines that are slow.
const patience = time.Minute

// patientConn is a connection on which something comes within that time.
type patientConn struct{ net.Conn }

func (c patientConn) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c.Conn.Read(p)
}

// meet waits for somebody to connect.
func (p *bareProvider) meet(t *testing.T) *meeting {
	t.Helper()
	select {
	case m := <-p.met:
		return m
	case <-time.After(patience):
		t.Fatal("nobody asks the provider")
		return nil
	}
}

// shake answers a handshake as it should be, with more header fields.
func (m *meeting) shake(fields ...string) {
	sum := sha1.Sum([]byte(m.request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, _ = fmt.Fprintf(m.Conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
		base64.StdEncoding.EncodeToString(sum[:]), strings.Join(append(fields, ""), "\r\n"))
}

// inFrontOf is a gateway before a provider that each test makes up. It does not
// probe, since whoever asks the provider is taken for the test's own call.
func inFrontOf(t *testing.T, provider string, options ...string) *gateway {
	t.Helper()
	return start(t, strings.NewReplacer("PROVIDER", provider, "OPTIONS", strings.Join(options, "\n")).Replace(head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		probe off
		provider openai PROVIDER {
			key sk-canary-one
			key sk-canary-two
		}
		provider gemini PROVIDER {
			key sk-canary-google
		}
		provider azure PROVIDER {
			key sk-canary-azure
		}
		OPTIONS
	}
}
`))
}

// rawClient is a client that spells its frames out.
type rawClient struct {
	net.Conn
	*bufio.Reader
}

func (c *rawClient) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// rawDial sends a handshake and reads the answer to it.
func (g *gateway) rawDial(t *testing.T, path string, fields ...string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", g.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, g.url[len("http://"):], strings.Join(append(fields, ""), "\r\n"))
	return &rawClient{Conn: conn, Reader: bufio.NewReader(patientConn{conn})}
}

// answer reads the answer to the handshake.
func (c *rawClient) answer(t *testing.T) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// handshake is what a client's handshake has besides its path.
var handshake = []string{
	"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key." + clientKey + ", openai-beta.realtime-v1",
}
