// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	numbers "encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	ws "github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
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
		all = append(all, ws.Frame(first, payload, mask)...)
	}
	noise := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		return p
	}
	add(ws.Last|ws.Text, []byte(`{"type":"session.created","session":{"model":"m-ü"}}`))
	for range 30 {
		switch random.IntN(6) {
		case 0:
			add(ws.Last|ws.Binary, noise(random.IntN(3000)))
		case 1:
			add(ws.Last|ws.Binary, noise(60_000+random.IntN(200_000)))
		case 2:
			add(ws.Ping, noise(random.IntN(126)))
			add(ws.Pong, nil)
		case 3:
			cut := random.IntN(len(responseDone))
			add(ws.Text, []byte(responseDone[:cut]))
			add(ws.Ping, []byte("between"))
			add(0, nil)
			add(ws.Last, []byte(responseDone[cut:]))
		case 4:
			add(ws.Last|ws.Text, []byte(`{"type":"response.output_audio.delta","delta":"`+strings.Repeat("QUJD", random.IntN(50_000))+`"}`))
		case 5:
			add(ws.Last|ws.Text, []byte(responseDone))
		}
	}
	add(ws.Last|ws.Text, []byte(responseDone))
	add(ws.Last|ws.Binary, noise(1<<20))
	add(ws.Close, []byte("\x03\xe8bye"))
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
		if call["llm_outcome"] != "ok" || call["llm_model_answered"] != "m-ü" {
			t.Errorf("the log says %v", call)
		}
		turns := float64(turnsIn(toClient))
		if turns < 1 || call["llm_input_tokens"] != 5*turns || call["llm_output_tokens"] != 7*turns || call["llm_usage_estimated"] != nil {
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

// Half a frame reaches the other side before its other half is sent.
func TestNothingOfASessionWaits(t *testing.T) {
	p := newBareProvider(t)
	g := inFrontOf(t, p.url)
	client := g.rawDial(t, realtimePath, handshake...)
	provider := p.meet(t)
	provider.shake()
	client.answer(t)
	message := ws.Frame(ws.Last|ws.Text, []byte(responseDone), nil)
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
