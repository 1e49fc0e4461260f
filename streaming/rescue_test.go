// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// words are what a story of a test is made of.
var words = strings.Fields("once upon a time there was a gateway that would not let go")

// story is a whole chat stream under an id.
func story(id string, words []string) []string {
	events := []string{strings.Replace(roleChunk, "c1", id, 1)}
	for _, word := range words {
		events = append(events, strings.Replace(chunk(word+" "), "c1", id, 1))
	}
	return append(events, strings.Replace(finishChunk, "c1", id, 1), doneEvent)
}

// rescuing is twoModels with rescue on.
func rescuing(t *testing.T, up *upstream, configure func(*Transport)) *Transport {
	return twoModels(t, up, func(tr *Transport, _ *ModelRoute) {
		tr.Rescue = rescueResume
		if configure != nil {
			configure(tr)
		}
	})
}

// tellsAll lets the fallback tell the story, and break what the primary does.
func tellsAll(t *testing.T, primary func(w http.ResponseWriter, r *http.Request, nth int)) *upstream {
	t.Helper()
	var u *upstream
	u = newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if strings.Contains(u.requests()[len(u.requests())-1].body, `"fallback"`) {
			stream(w, story("second", words)...)
			return
		}
		primary(w, r, u.asked("primary"))
	})
	return u
}

// A stream that breaks in any way is taken up by another target; the client
// gets one whole answer under one id.
func TestRescueMakesOneAnswer(t *testing.T) {
	for name, breakOff := range map[string]func(w http.ResponseWriter, r *http.Request){
		"connection broken": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"ended politely":    func(http.ResponseWriter, *http.Request) {},
		"silence":           func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half an event": func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `data: {"id":"first","choices":[{"index":0,"delta":{"con`)
			panic(http.ErrAbortHandler)
		},
		"half an event, politely": func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `data: {"id":"first","choices":[{"index":0,"delta":{"con`)
		},
		"an error event": func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `data: {"error":{"message":"overloaded","type":"server_error"}}`+"\n\n")
		},
	} {
		for _, after := range []int{1, 5, len(words)} {
			t.Run(fmt.Sprintf("%s after %d", name, after), func(t *testing.T) {
				up := tellsAll(t, func(w http.ResponseWriter, r *http.Request, _ int) {
					stream(w, story("first", words)[:after+1]...)
					breakOff(w, r)
				})
				tr := rescuing(t, up, func(tr *Transport) {
					if name == "silence" {
						tr.Timeouts.Idle = caddy.Duration(100 * time.Millisecond)
					}
				})
				status, text, call := chat(t, tr, chatStreamBody)
				// What breaks before any of it was passed on is simply asked anew.
				taken := strings.Contains(text, "first")
				if status != 200 || spoken(text) != strings.Join(words, " ")+" " || taken && strings.Contains(text, "second") || !strings.HasSuffix(text, doneEvent) || strings.Count(text, `{"con`) != strings.Count(text, `{"content"`) {
					t.Errorf("got %d %q\n%s", status, spoken(text), text)
				}
				if call.Outcome != OutcomeOK || taken && call.Attempts[len(call.Attempts)-2].Verdict.Class == keypool.ClassOK {
					t.Errorf("outcome %s, attempts %+v", call.Outcome, call.Attempts)
				}
			})
		}
	}
}

// spoken puts together the text of a chat stream.
func spoken(stream string) string {
	var text strings.Builder
	for line := range strings.Lines(stream) {
		_, rest, found := strings.Cut(line, `"content":"`)
		if content, _, whole := strings.Cut(rest, `"`); found && whole {
			text.WriteString(content)
		}
	}
	return text.String()
}

// A stream whose lines end in CR LF is joined at the end of its last event,
// even if half of that has not come.
func TestRescueJoinsBehindCRLF(t *testing.T) {
	for _, lost := range []int{0, 1} {
		first := strings.ReplaceAll(strings.Join(story("first", words)[:4], ""), "\n", "\r\n")
		up := tellsAll(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			stream(w, first[:len(first)-lost])
			panic(http.ErrAbortHandler)
		})
		_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
		if !strings.HasPrefix(text, first+"data: {") || spoken(text) != strings.Join(words, " ")+" " || call.Outcome != OutcomeOK {
			t.Errorf("outcome %s: %q", call.Outcome, text)
		}
	}
}

// A stream that is taken up and breaks again is taken up again.
func TestRescueOfARescue(t *testing.T) {
	up := tellsAll(t, nil)
	up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		up.mu.Lock()
		up.seen = append(up.seen, seen{body: string(body)})
		nth := len(up.seen)
		up.mu.Unlock()
		stream(w, story(fmt.Sprint("answer", nth), words)[:min(4*nth, len(words)+3)]...)
		panic(http.ErrAbortHandler)
	})
	tr := rescuing(t, up, nil)
	_, text, call := chat(t, tr, chatStreamBody)
	if spoken(text) != strings.Join(words, " ")+" " || call.Outcome != OutcomeOK {
		t.Errorf("outcome %s: %s", call.Outcome, text)
	}
}

// Where nothing can take the stream up, the client learns of the first thing
// that went wrong, and of nothing that came later.
func TestRescueThatFailsShowsTheFirstFault(t *testing.T) {
	for name, fallback := range map[string]func(w http.ResponseWriter){
		"refused":       func(w http.ResponseWriter) { answerJSON(w, 400, `{"error":{"message":"LATER FAULT"}}`) },
		"another story": func(w http.ResponseWriter) { stream(w, story("second", strings.Fields("LATER FAULT"))...) },
		"down":          func(w http.ResponseWriter) { answerJSON(w, 503, `LATER FAULT`) },
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(http.ResponseWriter, *http.Request, string) {})
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if strings.Contains(string(body), "primary") {
					stream(w, story("first", words)[:4]...)
					panic(http.ErrAbortHandler)
				}
				fallback(w)
			})
			_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
			if !strings.Contains(text, "upstream_broken") || strings.Contains(text, "LATER") || call.Outcome != OutcomeBroken {
				t.Errorf("outcome %s: %s", call.Outcome, text)
			}
			if !strings.HasPrefix(text, strings.Join(story("first", words)[:4], "")) {
				t.Errorf("what came before is not untouched: %s", text)
			}
		})
	}
}

// Anthropic's models go on from the beginning of their answer. One that
// refuses is asked anew, and not like that again.
func TestRescueByPrefill(t *testing.T) {
	start := "event: message_start\n" + `data: {"type":"message_start","message":{"id":"first","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n" +
		"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n"
	text := func(s string) string {
		return "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + s + `"}}` + "\n\n"
	}
	end := "event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
		"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}` + "\n\n" +
		"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"
	const body = `{"model":"gpt-4o","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`
	for name, refuses := range map[string]bool{"taken": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			var bodies []string
			up := newUpstream(t, func(http.ResponseWriter, *http.Request, string) {})
			up.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				read, _ := io.ReadAll(r.Body)
				if !json.Valid(read) {
					t.Errorf("sent what is no JSON: %s", read)
				}
				bodies = append(bodies, string(read))
				prefilled := strings.Contains(string(read), `"assistant"`)
				switch {
				case strings.Contains(string(read), "primary"):
					stream(w, start, text("one "))
					panic(http.ErrAbortHandler)
				case prefilled && refuses:
					answerJSON(w, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"This model does not support assistant message prefill."}}`)
				case prefilled:
					stream(w, strings.ReplaceAll(start, "first", "second"), text("two"), end)
				default:
					stream(w, strings.ReplaceAll(start, "first", "second"), text("on"), text("e t"), text("wo"), end)
				}
			})
			tr := rescuing(t, up, func(tr *Transport) { tr.Providers[0].API = "anthropic" })
			for range 2 {
				res, call := post(t, context.Background(), tr, "/v1/messages", body)
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || strings.Contains(string(got), "second") || !strings.HasSuffix(string(got), end[strings.Index(end, "event: message_stop"):]) {
					t.Errorf("got %v\n%s", err, got)
				}
				if said := said(string(got)); said != "one two" || call.Outcome != OutcomeOK {
					t.Errorf("said %q, outcome %s", said, call.Outcome)
				}
			}
			if want := map[bool]int{false: 4, true: 5}[refuses]; len(bodies) != want {
				t.Errorf("asked %d times, want %d: %s", len(bodies), want, strings.Join(bodies, "\n"))
			}
		})
	}
}

// said puts together the text of a Messages stream.
func said(stream string) string {
	var text strings.Builder
	for line := range strings.Lines(stream) {
		_, rest, found := strings.Cut(line, `"text":"`)
		if piece, _, whole := strings.Cut(rest, `"`); found && whole && strings.Contains(line, "text_delta") {
			text.WriteString(piece)
		}
	}
	return text.String()
}

// scripted answers the nth request by the nth step, and those behind by the
// last.
func scripted(t *testing.T, steps ...func(w http.ResponseWriter, r *http.Request)) *upstream {
	t.Helper()
	var n atomic.Int32
	return newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		steps[min(int(n.Add(1)), len(steps))-1](w, r)
	})
}

// breaks begins the story and breaks the connection.
func breaks(after int) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		stream(w, story("first", words)[:after]...)
		panic(http.ErrAbortHandler)
	}
}

func down(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 503, "down") }

// A second stream that reports an error in its turn, with nothing left to take
// it up, ends in the error of the first.
func TestRescueThatFailsInItsTurn(t *testing.T) {
	next := make(chan struct{})
	up := scripted(t, breaks(4), func(w http.ResponseWriter, _ *http.Request) {
		stream(w, story("second", words)[:8]...)
		<-next
		stream(w, `data: {"error":{"message":"overloaded","type":"server_error"}}`+"\n\n")
	}, down)
	res, call := post(t, context.Background(), rescuing(t, up, nil), "/v1/chat/completions", chatStreamBody)
	lines := bufio.NewReader(res.Body)
	for line := ""; !strings.Contains(line, words[5]); {
		var err error
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(next)
	rest, err := io.ReadAll(lines)
	res.Body.Close()
	if err != nil || !strings.Contains(string(rest), "upstream_broken") || strings.Contains(string(rest), "[DONE]") {
		t.Errorf("%v, ends in %s", err, rest)
	}
	if call.Outcome != OutcomeBroken || call.Cause == nil {
		t.Errorf("outcome %s, cause %v", call.Outcome, call.Cause)
	}
}

// A second stream may turn out to be another answer only after it has begun.
func TestRescueThatDivergesLate(t *testing.T) {
	read := make(chan struct{})
	up := scripted(t, breaks(6), func(w http.ResponseWriter, _ *http.Request) {
		stream(w, story("second", words)[:3]...)
		<-read
		stream(w, story("second", strings.Fields("x y z"))[1:]...)
	}, down)
	tr := rescuing(t, up, nil)
	begun := sync.OnceFunc(func() { close(read) })
	tr.logger = tr.logger.WithOptions(zap.Hooks(func(entry zapcore.Entry) error {
		if entry.Message == "broken stream taken up" {
			begun()
		}
		return nil
	}))
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !strings.Contains(string(text), "upstream_broken") || call.Outcome != OutcomeBroken || call.Cause == nil {
		t.Errorf("outcome %s, cause %v, %v: %s", call.Outcome, call.Cause, err, text)
	}
}

// A provider that states the usage in every chunk says nothing twice.
func TestRescueWithUsageInEveryChunk(t *testing.T) {
	usage := func(events []string) []string {
		var all []string
		for _, event := range events {
			all = append(all, strings.Replace(event, `"choices"`, `"usage":{"prompt_tokens":1,"completion_tokens":1},"choices"`, 1))
		}
		return all
	}
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, usage(story("first", words))[:6]...)
		panic(http.ErrAbortHandler)
	}, func(w http.ResponseWriter, _ *http.Request) { stream(w, usage(story("second", words))...) })
	_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
	if spoken(text) != strings.Join(words, " ")+" " || call.Outcome != OutcomeOK {
		t.Errorf("outcome %s: %q", call.Outcome, spoken(text))
	}
}

// A key that reports its limit in the middle of a stream rests, whether or not
// another takes the stream up; and it is another that does.
func TestLimitInTheMiddleOfAStreamRestsTheKey(t *testing.T) {
	for _, rescue := range []string{rescueOff, rescueResume} {
		t.Run(rescue, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
				if strings.HasPrefix(key, "a-") {
					stream(w, story("first", words)[:4]...)
					stream(w, `data: {"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`+"\n\n")
					return
				}
				stream(w, story("second", words)...)
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name(), "b-"+t.Name())}, Retry: quick, Rescue: rescue})
			chat(t, tr, chatStreamBody)
			if status := tr.Providers[0].pool.Load().Snapshot()[0]; len(status.CoolingModels) != 1 {
				t.Errorf("the key does not rest: %+v", status)
			}
		})
	}
}

// Events that lack what they should have harm nothing.
func TestRescueOfAMalformedStream(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		start := "event: content_block_start\n" + `data: {"type":"content_block_start","content_block":{"type":"text","text":"x"}}` + "\n\n"
		stream(w, start, start)
		panic(http.ErrAbortHandler)
	})
	tr := rescuing(t, up, func(tr *Transport) { tr.Providers[0].API = "anthropic" })
	res, _ := post(t, context.Background(), tr, "/v1/messages", `{"model":"gpt-4o","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`)
	text, _ := io.ReadAll(res.Body)
	if !strings.Contains(string(text), "upstream_broken") && res.StatusCode == 200 {
		t.Errorf("got %s", text)
	}
}

// Without the option nothing is asked twice.
func TestNoRescueUnlessWanted(t *testing.T) {
	up := tellsAll(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		stream(w, story("first", words)[:4]...)
		panic(http.ErrAbortHandler)
	})
	_, text, _ := chat(t, twoModels(t, up, nil), chatStreamBody)
	if !strings.Contains(text, "upstream_broken") || len(up.requests()) != 1 {
		t.Errorf("asked %d times: %s", len(up.requests()), text)
	}
}

// The LF that ends an event may come after its CR: it does not wait for the
// event behind it.
func TestRescueHoldsNoLineEndBack(t *testing.T) {
	next := make(chan struct{})
	first := strings.ReplaceAll(strings.Join(story("first", words)[:3], ""), "\n", "\r\n")
	up := tellsAll(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		stream(w, first[:len(first)-1])
		<-next
		stream(w, "\n")
		select {
		case <-next:
		case <-r.Context().Done():
		}
		stream(w, strings.ReplaceAll(strings.Join(story("first", words)[3:], ""), "\n", "\r\n"))
	})
	res, _ := post(t, context.Background(), rescuing(t, up, nil), "/v1/chat/completions", chatStreamBody)
	got := make([]byte, len(first)-1)
	if _, err := io.ReadFull(res.Body, got); err != nil {
		t.Fatal(err)
	}
	next <- struct{}{}
	if _, err := io.ReadFull(res.Body, got[:1]); err != nil || got[0] != '\n' {
		t.Fatalf("got %q, %v", got[:1], err)
	}
	next <- struct{}{}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
}

// A whole stream passes byte for byte with rescue on, too, and event by event.
func TestRescueLeavesWholeStreamsAlone(t *testing.T) {
	sent := "\ufeff: hello\r\n\r\n" + strings.Join(story("first", words), "") +
		strings.ReplaceAll(strings.Join(story("first", words), ""), "\n", "\r\n") + "data: trailing"
	up := tellsAll(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		for i := range len(sent) {
			stream(w, sent[i:i+1])
		}
	})
	_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
	if text != sent || call.Outcome != OutcomeOK {
		t.Errorf("outcome %s\ngot  %q\nwant %q", call.Outcome, text, sent)
	}
}
