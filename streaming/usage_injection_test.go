// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

const (
	asksForUsage = `"stream_options":{"include_usage":true}`
	usageChunk   = `data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}` + "\n\n"
)

// A client that does not ask for the usage gets the same bytes whether it is
// asked for in its place or not; only then it is known.
func TestAskingForUsageLeavesTheStreamAsItWas(t *testing.T) {
	for name, plain := range chatStreams(t) {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(len(plain))))
			up := metered(t, plain, random)
			observing := provision(t, &Transport{Providers: []*Provider{pool("o", up.URL, "a-"+t.Name())}, Retry: quick, Usage: "observe"})
			injecting := provision(t, &Transport{Providers: []*Provider{pool("i", up.URL, "b-"+t.Name())}, Retry: quick, Usage: "inject"})
			status, want, _ := chat(t, observing, chatStreamBody)
			if status == 200 && want != plain {
				t.Fatalf("observed, it differs from what was sent:\n%.500q\n%.500q", want, plain)
			}
			if got := up.requests()[0].body; got != chatStreamBody {
				t.Errorf("observed, the request is %s", got)
			}
			for range 4 {
				again, got, call := chat(t, injecting, chatStreamBody)
				if again != status || got != want {
					t.Fatalf("got %d, %d bytes, want %d, %d bytes; they differ from\n%.300q\n%.300q on", again, len(got), status, len(want), rest(got, want), rest(want, got))
				}
				if usage := call.Result.Usage; status == 200 && (!usage.Stated() || call.Result.Estimated) && strings.HasSuffix(plain, doneEvent) {
					t.Errorf("the usage is %+v, estimated %t", usage, call.Result.Estimated)
				}
			}
			seen := up.requests()
			if got := seen[len(seen)-1].body; !strings.Contains(got, asksForUsage) {
				t.Errorf("the usage was not asked for: %s", got)
			}
		})
	}
}

// rest returns a from where it differs from b.
func rest(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return a[max(0, i-40):]
}

// An event that may be the one to leave out is held no longer than that, and
// no other is.
func TestAskingForUsageHoldsNoEventBack(t *testing.T) {
	next := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		for _, event := range []string{roleChunk, chunk("one"), chunk("two"), finishChunk, usageChunk, doneEvent} {
			stream(w, strings.Replace(event, "}\n\n", `,"usage":null}`+"\n\n", 1))
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Usage: "inject"})
	go func() { next <- struct{}{} }() // the role alone is no answer yet
	res, _ := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	for _, event := range []string{roleChunk, chunk("one"), chunk("two"), finishChunk} {
		got := make([]byte, len(event))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != event {
			t.Fatalf("got %q, %v", got, err)
		}
		if event != roleChunk {
			next <- struct{}{}
		}
	}
	close(next)
	if text, _ := io.ReadAll(res.Body); string(text) != doneEvent {
		t.Errorf("the end is %q", text)
	}
}

// A provider that refuses to be asked is asked without, and from then on so
// for the model in question.
func TestWhoRefusesTheOptionIsAskedWithout(t *testing.T) {
	const refusal = `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}`
	plain := roleChunk + chunk("one") + finishChunk + doneEvent
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if asked(r) {
			answerJSON(w, 400, refusal)
			return
		}
		stream(w, plain)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Usage: "inject"})
	for nth, attempts := range []int{2, 1} {
		status, text, call := chat(t, tr, chatStreamBody)
		if status != 200 || text != plain || len(call.Attempts) != attempts || call.Outcome != OutcomeOK || !call.Result.Estimated {
			t.Errorf("call %d: got %d %q after %+v", nth, status, text, call.Attempts)
		}
	}
	other := strings.Replace(chatStreamBody, "gpt-4o", "gpt-5-", 1)
	if status, _, call := chat(t, tr, other); status != 200 || len(call.Attempts) != 2 {
		t.Errorf("another model: got %d after %d attempts", status, len(call.Attempts))
	}
}

// A client that has the provider's refusal name the option is told of its own
// fault, and nothing is learned from it.
func TestWhatAClientQuotesIsNoRefusalOfTheOption(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		answerJSON(w, 400, `{"error":{"message":"invalid message: stream_options","type":"invalid_request_error"}}`)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Usage: "inject"})
	for range 2 {
		status, text, call := chat(t, tr, chatStreamBody)
		if status != 400 || !strings.Contains(text, "invalid message") || len(call.Attempts) != 2 || call.Attempts[1].Verdict.Class != keypool.ClassCaller {
			t.Errorf("got %d %s after %+v", status, text, call.Attempts)
		}
	}
}

// Who asks for the usage gets it, and nothing else is changed.
func TestClientsOwnAskingIsLeftAlone(t *testing.T) {
	body := strings.Replace(chatStreamBody, "{", "{"+asksForUsage+",", 1)
	sent := withUsage(roleChunk + chunk("one") + finishChunk + doneEvent)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { stream(w, sent) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick, Usage: "inject"})
	if _, text, _ := chat(t, tr, body); text != sent || up.requests()[0].body != body {
		t.Errorf("asked %s, got %q", up.requests()[0].body, text)
	}
	whole := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "b-"+t.Name())}, Retry: quick, Usage: "inject"})
	if chat(t, whole, chatBody); up.requests()[1].body != chatBody {
		t.Errorf("an answer that comes whole was asked for by %s", up.requests()[1].body)
	}
}

// A stream that breaks ends in an error, as it does when nothing was asked for.
func TestAskedStreamBreaksLikeAnother(t *testing.T) {
	plain := roleChunk + chunk("one") + chunk("two") + finishChunk
	for cut := len(roleChunk) + len(chunk("one")); cut < len(plain)-60; cut += 7 {
		texts := map[string]string{}
		for _, mode := range []string{"observe", "inject"} {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				stream(w, plain[:cut])
				panic(http.ErrAbortHandler)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, mode+"-"+t.Name())}, Retry: quick, Usage: mode})
			_, text, call := chat(t, tr, chatStreamBody)
			texts[mode] = text
			if call.Outcome != OutcomeBroken || !strings.Contains(text, `"code":"upstream_broken"`) {
				t.Errorf("cut after %d, %s: outcome %s, %q", cut, mode, call.Outcome, text)
			}
		}
		if texts["inject"] != texts["observe"] {
			t.Errorf("cut after %d:\n got %q\nwant %q", cut, texts["inject"], texts["observe"])
		}
	}
}

// An answer that is whole but for what follows it ends before that, and not in
// the middle of an event: of what we had asked for nothing is seen.
func TestWholeAnswerIsNotFollowedByHalfAnEvent(t *testing.T) {
	plain := roleChunk + chunk("one") + finishChunk
	for _, rescue := range []string{rescueOff, rescueResume} {
		for _, asking := range []string{usageInject, usageObserve} {
			for cut := 1; cut < len(usageChunk+doneEvent)-1; cut += 5 {
				up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
					if asked(r) {
						stream(w, plain, (usageChunk + doneEvent)[:cut])
					} else {
						stream(w, plain, doneEvent[:min(cut, len(doneEvent))])
					}
				})
				tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, asking+rescue+t.Name())}, Retry: quick, Usage: asking, Rescue: rescue})
				_, text, call := chat(t, tr, chatStreamBody)
				more, ok := strings.CutPrefix(text, plain)
				if !ok || !strings.HasPrefix(doneEvent, more) || call.Outcome != OutcomeOK {
					t.Errorf("usage %s, rescue %s, %d behind the end: outcome %s, %q", asking, rescue, cut, call.Outcome, text)
				}
				if half := strings.TrimSpace(more); rescue == rescueResume && half != "" && half != "data: [DONE]" && strings.HasPrefix(half, "data: [") {
					t.Errorf("usage %s, %d behind the end: %q", asking, cut, more)
				}
			}
		}
	}
}

// A stream that was asked for its usage is taken up again like any other,
// though the one that takes it up may not be asked.
func TestAskedStreamIsRescued(t *testing.T) {
	for _, second := range []string{"inject", "observe"} {
		for cut := 2; cut < 6; cut++ {
			up := newUpstream(t, nil)
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				events := story("second", words)
				if strings.Contains(string(body), "gpt-4o") {
					events = story("first", words)[:cut]
				}
				text := strings.Join(events, "")
				if strings.Contains(string(body), asksForUsage) {
					text = withUsage(text)
				}
				stream(w, text)
				if strings.Contains(string(body), "gpt-4o") {
					panic(http.ErrAbortHandler)
				}
			})
			first, next := pool("first", up.URL, "a-"+t.Name()), pool("next", up.URL, "b-"+t.Name())
			first.Usage, next.Usage = "inject", second
			tr := provision(t, &Transport{
				Providers: []*Provider{first, next}, Retry: quick, Rescue: rescueResume,
				Models: []*ModelRoute{{Match: "*", Targets: []Target{{Provider: "first"}, {Provider: "next", Model: "other"}}}},
			})
			_, text, call := chat(t, tr, chatStreamBody)
			if spoken(text) != strings.Join(words, " ")+" " || strings.Contains(text, "usage") || call.Outcome != OutcomeOK {
				t.Errorf("%s, after %d events: outcome %s, %q", second, cut, call.Outcome, text)
			}
		}
	}
}

// Who is asked is said by the config, and else by what is known of the service.
func TestWhoIsAskedForUsage(t *testing.T) {
	for _, test := range []struct {
		name, base, own, general string
		want                     bool
	}{
		{"openai", "", "", "", true},
		{"mine", "https://api.openai.com/v1", "", "", true},
		{"openai", "https://proxy.example.com/v1", "", "", false},
		{"openai", "https://proxy.example.com/v1", "", "inject", true},
		{"openai", "", "observe", "", false},
		{"openai", "", "observe", "inject", false},
		{"openai", "", "", "observe", false},
		{"openai", "", "inject", "observe", true},
		{"mistral", "", "", "", false},
		{"mistral", "", "", "inject", false},
		{"mistral", "", "inject", "", true},
		{"vllm", "http://10.0.0.1:8000/v1", "", "", true},
		{"mine", "http://localhost:8000/v1", "", "", false},
		{"mine", "https://mine.openai.azure.com/openai/v1", "", "", true},
		{"huggingface", "", "", "", false},
	} {
		p := pool(test.name, test.base, "a-"+t.Name())
		p.Usage = test.own
		provision(t, &Transport{Providers: []*Provider{p}, Usage: test.general})
		if got := p.asks.takes("m"); got != test.want {
			t.Errorf("%+v: asked %t", test, got)
		}
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for _, tr := range []*Transport{{Usage: "always"}, {Providers: []*Provider{{Usage: "always"}}}} {
		p := pool("p", "http://localhost", "b-"+t.Name())
		if len(tr.Providers) > 0 {
			p.Usage = tr.Providers[0].Usage
		}
		tr.Providers = []*Provider{p}
		if err := tr.Provision(ctx); err == nil || !strings.Contains(err.Error(), `usage: must be inject or observe, not "always"`) {
			t.Errorf("got %v", err)
		}
		_ = tr.Cleanup()
	}
}

// endless is a body of the same event over and over.
type endless struct {
	event []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.event[e.at:])
	e.at = (e.at + n) % len(e.event)
	return n, nil
}

func (*endless) Close() error { return nil }

func TestReadingAllocatesNothingPerEvent(t *testing.T) {
	for _, filter := range []*wire.UsageFilter{nil, new(wire.UsageFilter)} {
		t.Run(fmt.Sprintf("filtered %t", filter != nil), func(t *testing.T) {
			request, _ := wire.Recognize(http.MethodPost, httpURL(t, "/v1/chat/completions"), http.Header{})
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			scan := wire.NewScanner(request.Operation, 200, "text/event-stream", "")
			event := []byte(strings.Replace(chunk("word"), "}\n\n", `,"usage":null}`+"\n\n", 1))
			a := &answer{view: scan, leg: &leg{
				call: &Call{Request: request, Started: time.Now()}, ctx: ctx, client: ctx, stream: true, filter: filter, scan: scan,
				watch: newWatch(cancel, time.Time{}), limits: &Timeouts{Idle: caddy.Duration(time.Minute)},
				response: &http.Response{StatusCode: 200, Body: &endless{event: event}},
			}}
			buffer := make([]byte, 32<<10)
			read := func() {
				if n, err := a.Read(buffer); n == 0 || err != nil {
					t.Fatalf("read %d, %v", n, err)
				}
			}
			for range 10 {
				read()
			}
			if n := testing.AllocsPerRun(1000, read); n != 0 {
				t.Errorf("%v allocations per event", n)
			}
		})
	}
}
