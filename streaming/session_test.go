// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

const (
	realtimePath = "/v1/realtime?model=gpt-realtime"
	responseDone = `{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":12,"input_tokens":5,"output_tokens":7}}}`
)

// shake carries a handshake through the transport, as reverse_proxy would.
func shake(t *testing.T, tr *Transport, path string) (*http.Response, *Call) {
	t.Helper()
	in := httptest.NewRequest(http.MethodGet, "http://gateway"+path, nil)
	in.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-WebSocket-Version": {"13"},
		"Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-WebSocket-Protocol": {"realtime"},
		"Sec-Websocket-Extensions": {"permessage-deflate"}, "Authorization": {"Bearer client-secret"},
	}
	request, err := wire.Recognize(http.MethodGet, in.URL, in.Header)
	if err != nil {
		t.Fatal(err)
	}
	call := &Call{ID: "test-request", Request: request, Started: time.Now()}
	t.Cleanup(call.Close)
	res, err := tr.RoundTrip(in.WithContext(WithCall(context.Background(), call)))
	if err != nil {
		t.Fatal(err)
	}
	return res, call
}

// speaker is a provider that answers every message with a response.
func speaker(t *testing.T, refuse map[string]int) *upstream {
	return newUpstream(t, func(w http.ResponseWriter, r *http.Request, key string) {
		if status := refuse[key]; status != 0 {
			answerJSON(w, status, `{"error":{"message":"no"}}`)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				return
			}
			if conn.Write(context.Background(), websocket.MessageText, []byte(responseDone)) != nil {
				return
			}
		}
	})
}

// question is a client's message.
var question = []byte("\x81\x82\x00\x00\x00\x00{}")

// A handshake goes on to the key that is let in, whose lease is held until the
// call is closed; all turns count then.
func TestSessionHoldsItsKey(t *testing.T) {
	limited, rejected, good := "limited-"+t.Name(), "rejected-"+t.Name(), "good-"+t.Name()
	up := speaker(t, map[string]int{limited: 429, rejected: 401})
	p := pool("p", up.URL, limited, rejected, good)
	for _, key := range p.Keys {
		key.MaxInFlight = 1
	}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: Retry{WaitForKey: -1}})
	res, call := shake(t, tr, realtimePath)
	if res.StatusCode != 101 || up.keysAsked() != limited+" "+rejected+" "+good || res.Header.Get("Sec-Websocket-Protocol") != "realtime" {
		t.Fatalf("got %d of %s", res.StatusCode, up.keysAsked())
	}
	for _, asked := range up.requests() {
		if asked.query != "model=gpt-realtime" || asked.header.Get("Sec-Websocket-Extensions") != "" || asked.header.Get("Sec-Websocket-Protocol") != "realtime" {
			t.Errorf("asked %s with %v", asked.query, asked.header)
		}
	}
	conn := res.Body.(io.ReadWriteCloser)
	for range 3 {
		if _, err := conn.Write(question); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 2+len(responseDone))); err != nil {
			t.Fatal(err)
		}
	}
	if busy, _ := shake(t, tr, realtimePath); busy.StatusCode == 101 {
		t.Error("the key is used twice at a time")
	}
	if call.Outcome != "" || len(call.Attempts) != 3 {
		t.Errorf("before the end: outcome %q, %d attempts", call.Outcome, len(call.Attempts))
	}
	conn.Close()
	call.Close()
	call.Close()
	if call.Outcome != OutcomeCanceled || call.Result.Usage.InputTotal() != 15 || call.Result.Usage.OutputTotal() != 21 || call.Status != 101 {
		t.Errorf("outcome %s, status %d, usage %+v", call.Outcome, call.Status, call.Result.Usage)
	}
	if again, _ := shake(t, tr, realtimePath); again.StatusCode != 101 {
		t.Errorf("the key is not free again: %d", again.StatusCode)
	}
}

// Whatever goes on at the same time when a session ends, it is settled once.
func TestSessionIsSettledOnce(t *testing.T) {
	up := speaker(t, nil)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	for range 20 {
		res, call := shake(t, tr, realtimePath)
		conn := res.Body.(*session)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		wg.Go(func() {
			for range 100 {
				if _, err := conn.Write(question); err != nil {
					return
				}
			}
			conn.Close()
		})
		wg.Go(func() { _, _ = conn.Write([]byte("\x88\x80\x00\x00\x00\x00")) }) // as at the end of Caddy
		wg.Go(call.Close)
		wg.Wait()
		if call.Outcome != OutcomeOK && call.Outcome != OutcomeCanceled {
			t.Errorf("outcome %s", call.Outcome)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("something is read behind the end")
		}
	}
	if status := tr.Providers[0].pool.Load().Snapshot()[0]; status.InFlight != 0 {
		t.Errorf("%d calls in flight", status.InFlight)
	}
}

// What is first decides how a session has ended.
func TestHowASessionEnded(t *testing.T) {
	reset := errors.New("reset")
	for name, test := range map[string]struct {
		happens    func(e *sessionEnd)
		left, well bool
		fault      error
		closedBy   side
	}{
		"the client leaves":           {func(e *sessionEnd) { e.leave(); e.lose(reset, nil) }, true, false, nil, nobody},
		"the provider breaks":         {func(e *sessionEnd) { e.lose(reset, nil); e.leave() }, false, false, reset, nobody},
		"the provider ends":           {func(e *sessionEnd) { e.lose(io.EOF, nil); e.leave() }, false, false, errSessionCut, nobody},
		"time is up":                  {func(e *sessionEnd) { e.lose(reset, errTotalTimeout); e.leave() }, false, false, errTotalTimeout, nobody},
		"the client's context ends":   {func(e *sessionEnd) { e.lose(reset, context.Canceled) }, true, false, nil, nobody},
		"the client closes":           {func(e *sessionEnd) { e.closeBy(clientSide, 1011, nil); e.closeBy(providerSide, 1002, nil) }, false, true, nil, clientSide},
		"the provider closes":         {func(e *sessionEnd) { e.closeBy(providerSide, 1001, nil); e.lose(io.EOF, nil) }, false, true, errSessionCut, providerSide},
		"the provider closes, faulty": {func(e *sessionEnd) { e.closeBy(providerSide, 1011, nil); e.leave() }, true, false, nil, providerSide},
	} {
		var e sessionEnd
		test.happens(&e)
		if e.left != test.left || !errors.Is(e.fault, test.fault) || e.closedBy != test.closedBy || e.closedBy != nobody && e.closedWell() != test.well {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// The handshake has a limit of its own, and goes on to the next target.
func TestSilentHandshakeGoesOn(t *testing.T) {
	silent := newUpstream(t, func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() })
	good := speaker(t, nil)
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("silent", silent.URL, "a-"+t.Name()), pool("good", good.URL, "b-"+t.Name())},
		Models:    []*ModelRoute{{Match: "*", Targets: []Target{{Provider: "silent"}, {Provider: "good", Model: "other model"}}}},
		Retry:     quick,
		Timeouts:  Timeouts{Headers: caddy.Duration(100 * time.Millisecond)},
	})
	res, call := shake(t, tr, realtimePath)
	if res.StatusCode != 101 || call.Attempts[0].Verdict.Class != keypool.ClassSlow || good.requests()[0].query != "model=other+model" {
		t.Errorf("got %d, attempts %+v, query %s", res.StatusCode, call.Attempts, good.requests()[0].query)
	}
}

// Reading along allocates nothing per message.
func TestReadingASessionAllocatesNothing(t *testing.T) {
	request, err := wire.Recognize(http.MethodGet, &url.URL{Path: "/v1/realtime"}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	l := &leg{call: &Call{Request: request}, ctx: context.Background(), scan: wire.NewSessionScanner(request.Operation)}
	s := &session{leg: l}
	s.provider.Reset(providerFrames{s})
	s.client.Reset(clientFrames{s})
	const event = `{"type":"response.output_text.delta","delta":"hello there"}`
	message := append([]byte{0x81, byte(len(event))}, event...)
	read := func() {
		s.note(&s.provider, message[:9], nil)
		s.note(&s.provider, message[9:], nil)
		s.note(&s.client, question, nil)
	}
	read()
	if n := testing.AllocsPerRun(1000, read); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := l.scan.Result(); got.Events < 1000 || !l.scan.Started() {
		t.Errorf("read %+v", got)
	}
}
