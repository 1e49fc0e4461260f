// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	numbers "encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
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
				reader := bufio.NewReader(conn)
				if request, err := http.ReadRequest(reader); err == nil {
					p.met <- &meeting{conn, reader, request}
				}
			}()
		}
	}()
	return p
}

// meet waits for somebody to connect.
func (p *bareProvider) meet(t *testing.T) *meeting {
	t.Helper()
	select {
	case m := <-p.met:
		return m
	case <-time.After(20 * time.Second):
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

// inFrontOf is a gateway before a provider that each test makes up.
func inFrontOf(t *testing.T, provider string, options ...string) *gateway {
	t.Helper()
	return start(t, strings.NewReplacer("PROVIDER", provider, "OPTIONS", strings.Join(options, "\n")).Replace(`{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
}
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
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
	response *http.Response
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
	c := &rawClient{Conn: conn, Reader: bufio.NewReader(conn)}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c
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

// frame spells a frame out: its first byte, a payload, and a mask if it is a
// client's.
func frame(first byte, payload []byte, mask []byte) []byte {
	var masked byte
	if mask != nil {
		masked = 0x80
	}
	head := []byte{first}
	switch n := len(payload); {
	case n < 126:
		head = append(head, masked|byte(n))
	case n < 1<<16:
		head = numbers.BigEndian.AppendUint16(append(head, masked|126), uint16(n))
	default:
		head = numbers.BigEndian.AppendUint64(append(head, masked|127), uint64(n))
	}
	body := bytes.Clone(payload)
	for i := range body {
		if mask != nil {
			body[i] ^= mask[i&3]
		}
	}
	return slices.Concat(head, mask, body)
}

const (
	lastText   = 0x81
	lastBinary = 0x82
	lastPart   = 0x80
	firstText  = 0x01
	closeFrame = 0x88
	ping, pong = 0x89, 0x8a
)

const responseDone = `{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":12,"input_tokens":5,"output_tokens":7}}}`

// frames are all kinds of frames, one after the other, and a Close.
func frames(random *rand.Rand, masked bool) []byte {
	var all []byte
	add := func(first byte, payload []byte) {
		var mask []byte
		if masked {
			mask = numbers.BigEndian.AppendUint32(nil, random.Uint32())
		}
		all = append(all, frame(first, payload, mask)...)
	}
	noise := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		return p
	}
	add(lastText, []byte(`{"type":"session.created","session":{"model":"m-ü"}}`))
	for range 30 {
		switch random.IntN(6) {
		case 0:
			add(lastBinary, noise(random.IntN(3000)))
		case 1:
			add(lastBinary, noise(60_000+random.IntN(200_000)))
		case 2:
			add(ping, noise(random.IntN(126)))
			add(pong, nil)
		case 3:
			cut := random.IntN(len(responseDone))
			add(firstText, []byte(responseDone[:cut]))
			add(ping, []byte("between"))
			add(0, nil)
			add(lastPart, []byte(responseDone[cut:]))
		case 4:
			add(lastText, []byte(`{"type":"response.output_audio.delta","delta":"`+strings.Repeat("QUJD", random.IntN(50_000))+`"}`))
		case 5:
			add(lastText, []byte(responseDone))
		}
	}
	add(lastBinary, noise(1<<20))
	add(closeFrame, []byte("\x03\xe8bye"))
	return all
}

// send writes text in pieces of random size.
func send(conn io.Writer, text []byte, random *rand.Rand) {
	for len(text) > 0 {
		n := min(1+random.IntN(1<<random.IntN(17)), len(text))
		if _, err := conn.Write(text[:n]); err != nil {
			return
		}
		text = text[n:]
	}
}

// Whatever frames come, in whatever pieces, the other side gets the very same
// bytes; and what they say of the usage is added up.
func TestFramesPassUntouched(t *testing.T) {
	p := newBareProvider(t)
	g := inFrontOf(t, p.url)
	for round := range 6 {
		random := rand.New(rand.NewPCG(uint64(round), 1))
		toClient, toProvider := frames(random, false), frames(random, true)
		sizes := [2]*rand.Rand{rand.New(rand.NewPCG(uint64(round), 2)), rand.New(rand.NewPCG(uint64(round), 3))}
		client := g.rawDial(t, realtimePath, handshake...)
		provider := p.meet(t)
		provider.shake("Sec-WebSocket-Protocol: realtime")
		if res := client.answer(t); res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || res.Header.Get("Sec-Websocket-Protocol") != "realtime" {
			t.Fatalf("got %s %v", res.Status, res.Header)
		}
		var wg sync.WaitGroup
		got := [2][]byte{make([]byte, len(toClient)), make([]byte, len(toProvider))}
		wg.Go(func() { send(provider.Conn, toClient, sizes[0]) })
		wg.Go(func() { send(client.Conn, toProvider, sizes[1]) })
		wg.Go(func() { _, _ = io.ReadFull(client, got[0]) })
		wg.Go(func() { _, _ = io.ReadFull(provider, got[1]) })
		wg.Wait()
		if !bytes.Equal(got[0], toClient) || !bytes.Equal(got[1], toProvider) {
			t.Fatalf("round %d: bytes have changed on the way", round)
		}
		_ = provider.Conn.Close()
		if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
			t.Errorf("behind the end: %q, %v", rest, err)
		}
		_ = client.Conn.Close()
		call := g.awaitCalls(t, round+1)[round]
		done := float64(bytes.Count(toClient, []byte("response.done"))) // those that are cut in their middle are rare
		if call["llm_outcome"] != "ok" || call["llm_model_answered"] != "m-ü" {
			t.Errorf("the log says %v", call)
		}
		turns := float64(turnsIn(toClient))
		if turns < done || call["llm_input_tokens"] != 5*turns || call["llm_output_tokens"] != 7*turns+guessed(call) {
			t.Errorf("after %v turns the log says %v", turns, call)
		}
	}
}

// turnsIn counts the turns that frames tell of, by putting their messages
// together.
func turnsIn(text []byte) int {
	var messages []byte
	for len(text) > 0 {
		n, head := int(text[1]), 2
		switch n {
		case 126:
			n, head = int(numbers.BigEndian.Uint16(text[2:])), 4
		case 127:
			n, head = int(numbers.BigEndian.Uint64(text[2:])), 10
		}
		if text[0]&0x08 == 0 {
			messages = append(messages, text[head:head+n]...)
		}
		text = text[head+n:]
	}
	return bytes.Count(messages, []byte(responseDone))
}

// guessed is how many output tokens the log guesses for a turn that has not
// stated its usage.
func guessed(call map[string]any) float64 {
	if call["llm_usage_estimated"] != true {
		return 0
	}
	return call["llm_output_tokens"].(float64) - 7*call["llm_input_tokens"].(float64)/5
}

// Half a frame reaches the other side before its other half is sent.
func TestNothingOfASessionWaits(t *testing.T) {
	p := newBareProvider(t)
	g := inFrontOf(t, p.url)
	client := g.rawDial(t, realtimePath, handshake...)
	provider := p.meet(t)
	provider.shake()
	client.answer(t)
	message := frame(lastText, []byte(responseDone), nil)
	for _, piece := range [][]byte{message[:1], message[1:40], message[40:]} {
		for from, to := range map[io.Writer]io.Reader{provider.Conn: client, client.Conn: provider} {
			got := make([]byte, len(piece))
			if _, err := from.Write(piece); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, piece) {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	}
}
