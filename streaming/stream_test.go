// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each event reaches the client before the provider sends the next one.
func TestStreamPassesEventByEvent(t *testing.T) {
	next := make(chan struct{})
	words := []string{"one", "two", "three", "four"}
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		stream(w, roleChunk)
		for _, word := range words {
			stream(w, chunk(word))
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
		stream(w, finishChunk, doneEvent)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	lines := bufio.NewReader(res.Body)
	for _, word := range words {
		// The provider waits for us here: an event that is held back would
		// never come.
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("waiting for %q: %v", word, err)
			}
			if strings.Contains(line, `"`+word+`"`) {
				break
			}
		}
		next <- struct{}{}
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if each, known := call.PerToken(); !known || each > call.LastToken || call.LastToken <= call.FirstToken {
		t.Errorf("first token %s, last token %s, %s each", call.FirstToken, call.LastToken, each)
	}
	if call.Outcome != OutcomeOK || call.Result.Model != "gpt-4o-2024-08-06" || call.Result.Finish != "stop" || call.FirstToken <= 0 {
		t.Errorf("outcome %s, result %+v, first token %s", call.Outcome, call.Result, call.FirstToken)
	}
}

// The client receives exactly the bytes that the provider sent.
func TestStreamIsByteTransparent(t *testing.T) {
	sent := ": comment\r\n\r\n" + roleChunk + chunk(`caf\u00e9 `) + "data:{broken\n\n" + "id: 7\nretry: 10\n\n" + chunk("ü") + finishChunk + doneEvent
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		for i := range len(sent) {
			stream(w, sent[i:i+1])
		}
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	status, text, call := chat(t, tr, chatStreamBody)
	if status != 200 || text != sent {
		t.Errorf("got %d\n%q\nwant\n%q", status, text, sent)
	}
	if call.Outcome != OutcomeOK {
		t.Errorf("outcome %s", call.Outcome)
	}
}

// An error that comes as a stream's first event is mended like any other.
func TestErrorEventBeforeContentRotates(t *testing.T) {
	const limited = `data: {"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}` + "\n\n"
	bad, good := "bad-"+t.Name(), "good-"+t.Name()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		if key == bad {
			stream(w, roleChunk, limited)
			return
		}
		stream(w, roleChunk, chunk("hello"), finishChunk, doneEvent)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, bad, good)}, Retry: quick})
	status, text, call := chat(t, tr, chatStreamBody)
	if want := roleChunk + chunk("hello") + finishChunk + doneEvent; status != 200 || text != want {
		t.Errorf("got %d %q", status, text)
	}
	if len(call.Attempts) != 2 || call.Attempts[0].Verdict.Class.String() != "rate_limited" {
		t.Errorf("attempts: %+v", call.Attempts)
	}
}

// If all streams fail like that, the client gets a proper error response.
func TestErrorEventBeforeContentBecomesTheStatus(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, `data: {"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`+"\n\n")
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	status, text, _ := chat(t, tr, chatStreamBody)
	if status != http.StatusTooManyRequests || !strings.Contains(text, "Rate limit reached") {
		t.Errorf("got %d %s", status, text)
	}
}

// A stream that stops early ends in the family's error, and is not begun again
// once content has reached the client.
func TestCutStreamEndsInAnError(t *testing.T) {
	for name, cut := range map[string]func(w http.ResponseWriter){
		"connection broken": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"ended politely":    func(http.ResponseWriter) {},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				stream(w, roleChunk, chunk("one"), chunk("two"))
				cut(w)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name())}, Retry: quick})
			res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Error(err)
			}
			last, passed := strings.CutPrefix(string(text), roleChunk+chunk("one")+chunk("two"))
			if !passed || !strings.HasPrefix(last, `data: {"error":{`) || !strings.Contains(last, "upstream_broken") || !strings.HasSuffix(last, "}\n\n") {
				t.Errorf("got %q", text)
			}
			res.Body.Close()
			if call.Outcome != OutcomeBroken || len(up.requests()) != 1 {
				t.Errorf("outcome %s after %d requests", call.Outcome, len(up.requests()))
			}
		})
	}
}

// A finish reason is enough: some servers never send [DONE].
func TestStreamWithoutDoneIsWhole(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, roleChunk, chunk("hello"), finishChunk)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
	res.Body.Close()
	if call.Outcome != OutcomeOK {
		t.Errorf("outcome %s", call.Outcome)
	}
}

// A client that leaves in the middle of a stream ends the provider's work.
func TestClientLeavesStream(t *testing.T) {
	gone := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		stream(w, roleChunk, chunk("one"))
		<-r.Context().Done()
		close(gone)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	res, call := post(t, ctx, tr, "/v1/chat/completions", chatStreamBody)
	if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	call.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the provider still works for nobody")
	}
	if call.Outcome != OutcomeCanceled {
		t.Errorf("outcome %s", call.Outcome)
	}
	call.Close() // again: it must do nothing
	if snapshot := tr.Providers[0].pool.Load().Snapshot(); snapshot[0].InFlight != 0 || snapshot[0].ConsecutiveFailures != 0 {
		t.Errorf("the key was blamed or its slot leaked: %+v", snapshot[0])
	}
}

// A client that leaves costs an estimate of what it took so far; or, where the
// answer is read to its end for nobody, exactly what it took.
func TestUsageOfAClientThatLeaves(t *testing.T) {
	const usage = `data: {"choices":[],"usage":{"prompt_tokens":900,"completion_tokens":77,"total_tokens":977}}` + "\n\n"
	for mode, want := range map[string]struct {
		input, output int64
		estimated     bool
	}{
		disconnectCancel: {(int64(len(chatStreamBody)) + 3) / 4, 2, true},
		disconnectDrain:  {900, 77, false},
	} {
		t.Run(mode, func(t *testing.T) {
			left := make(chan struct{})
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
				stream(w, roleChunk, chunk("one"), chunk("two"))
				<-left
				stream(w, chunk("three"), finishChunk, usage, doneEvent)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, OnDisconnect: mode})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			res, call := post(t, ctx, tr, "/v1/chat/completions", chatStreamBody)
			if _, err := io.ReadFull(res.Body, make([]byte, len(roleChunk+chunk("one")+chunk("two")))); err != nil {
				t.Fatal(err)
			}
			cancel()
			close(left)
			call.Close()
			got := call.Result.Usage
			if got.InputTotal() != want.input || got.OutputTotal() != want.output || call.Result.Estimated != want.estimated || call.Outcome != OutcomeCanceled {
				t.Errorf("outcome %s, usage %+v", call.Outcome, got)
			}
		})
	}
}
