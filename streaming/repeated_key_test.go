// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/coder/websocket"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/eventstream/eventstreamtest"
	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
)

const canary = "sk-canary-0123456789abcdefghij"

// mentions reports whether more of the canary shows than any word may have.
func mentions(text string) bool { return strings.Contains(text, canary[:12]) }

// answered carries a call through that is made with the canary.
func answered(t *testing.T, path, body string, configure func(*Transport, *Provider), answer func(w http.ResponseWriter)) (*http.Response, string, *Call, error) {
	t.Helper()
	return answeredInTwo(t, path, body, configure, answer, "", func(http.ResponseWriter) {})
}

// answeredInTwo has the provider go on with its answer when the client has got
// the first part of it.
func answeredInTwo(t *testing.T, path, body string, configure func(*Transport, *Provider), answer func(w http.ResponseWriter), first string, more func(w http.ResponseWriter)) (*http.Response, string, *Call, error) {
	t.Helper()
	got := make(chan struct{})
	up := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w)
		if first == "" {
			return
		}
		_, _ = io.WriteString(w, first)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-got:
			more(w)
		case <-r.Context().Done():
		}
	})
	p := &Provider{Name: "p " + t.Name(), BaseURL: up.URL, Keys: []*Key{{Secret: canary}}}
	tr := &Transport{Providers: []*Provider{p}, Retry: Retry{Attempts: -1, WaitForKey: -1}}
	if configure != nil {
		configure(tr, p)
	}
	provision(t, tr)
	res, call := post(t, context.Background(), tr, path, body)
	text := make([]byte, len(first))
	if _, err := io.ReadFull(res.Body, text); err != nil {
		t.Errorf("reading what came first: %v", err)
	}
	close(got)
	rest, err := io.ReadAll(res.Body)
	res.Body.Close()
	return res, string(text) + string(rest), call, err
}

// encode returns a text in an encoding.
func encode(t *testing.T, encoding, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if encoding == "br" {
		w = brotli.NewWriter(&out)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// An encoded error says the same as a plain one, without its encoding, unless
// it repeats our key or nobody can tell whether it does.
func TestKeyDoesNotHideInAnEncodedError(t *testing.T) {
	const harmless, telling = `{"error":{"message":"no such thing"}}`, `{"error":{"message":"not with ` + canary + `"}}`
	for name, test := range map[string]struct {
		encoding string
		body     []byte
		want     string
	}{
		"gzip":                   {"gzip", encode(t, "gzip", harmless), harmless},
		"gzip, telling":          {"gzip", encode(t, "gzip", telling), ""},
		"br":                     {"br", encode(t, "br", harmless), harmless},
		"br, telling":            {"br", encode(t, "br", telling), ""},
		"gzip unsaid":            {"", encode(t, "gzip", harmless), harmless},
		"gzip unsaid, telling":   {"", encode(t, "gzip", telling), ""},
		"said to be gzip":        {"gzip", []byte(harmless), harmless},
		"said so, telling":       {"gzip", []byte(telling), ""},
		"said to be br":          {"br", []byte(telling), ""},
		"no encoding in so many": {"identity", []byte(harmless), harmless},
		"unknown":                {"zstd", []byte("(\xb5/\xfd " + telling), ""},
		"twice":                  {"gzip, br", encode(t, "br", string(encode(t, "gzip", telling))), ""},
		"longer than it looks":   {"gzip", encode(t, "gzip", strings.Repeat(" ", 200<<10)+telling), ""},
		"cut off":                {"gzip", encode(t, "gzip", telling)[:60], ""},
		"empty":                  {"gzip", nil, "-"},
	} {
		for _, status := range []int{400, 500} {
			res, text, _, err := answered(t, "/v1/chat/completions", chatBody, nil, func(w http.ResponseWriter) {
				if test.encoding != "" {
					w.Header().Set("Content-Encoding", test.encoding)
				}
				answerJSON(w, status, string(test.body))
			})
			if err != nil || res.StatusCode != status || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Content-Length") != fmt.Sprint(len(text)) {
				t.Errorf("%s: %v, %d, %v", name, err, res.StatusCode, res.Header)
			}
			if test.want == "" && !strings.Contains(text, "not passed on") || len(test.want) > 1 && text != test.want || test.want == "-" && text != "" {
				t.Errorf("%s: got %q", name, text)
			}
		}
	}
}

// Of an error that is longer than what is judged, the rest tells no key either,
// wherever it begins.
func TestKeyDoesNotHideBehindALongError(t *testing.T) {
	for _, before := range []int{maxErrorBody - len(canary) - 1, maxErrorBody - len(canary), maxErrorBody - 7, maxErrorBody - 1, maxErrorBody, maxErrorBody + 9, 300 << 10} {
		body := strings.Repeat("x", before) + canary + " and sk-" + strings.Repeat("y", 100<<10) + "sk-canary"
		_, text, _, err := answered(t, "/v1/chat/completions", chatBody, nil, func(w http.ResponseWriter) { answerJSON(w, 400, body) })
		if before+len(canary) <= maxErrorBody {
			if !strings.Contains(text, "not passed on") {
				t.Errorf("%d before it: got %d bytes", before, len(text))
			}
			continue
		}
		if err != nil || text != strings.ReplaceAll(body, canary, strings.Repeat("*", len(canary))) {
			t.Errorf("%d before it: %v, %d bytes", before, err, len(text))
		}
	}
}

// erroneous are streams that end in an error which repeats the canary.
var erroneous = map[string]struct{ api, path, body, content, failure string }{
	"chat": {"", "/v1/chat/completions", chatStreamBody, roleChunk + chunk("one"), `data: {"error":{"message":"bad KEY","code":500}}` + "\n\n"},
	"chat, by its name": {
		"", "/v1/chat/completions", chatStreamBody, roleChunk + chunk("one"), "event: error\n" + `data: {"message":"bad KEY"}` + "\n\n",
	},
	"a detail": {"", "/v1/chat/completions", chatStreamBody, roleChunk + chunk("one"), `data: {"detail":"bad KEY"}` + "\n\n"},
	"a list of details": {
		"", "/v1/chat/completions", chatStreamBody, roleChunk + chunk("one"), `data: {"detail":[{"msg":"bad KEY"}]}` + "\n\n",
	},
	"a field": {"", "/v1/chat/completions", chatStreamBody, roleChunk + chunk("one"), `error: {"message":"bad KEY"}` + "\n\n"},
	"responses": {
		"", "/v1/responses", `{"model":"m","input":"hi","stream":true}`,
		`data: {"type":"response.output_text.delta","delta":"one"}` + "\n\n",
		"event: response.failed\n" + `data: {"type":"response.failed","response":{"status":"failed","error":{"message":"bad KEY"}}}` + "\n\n",
	},
	"messages": {
		"anthropic", "/v1/messages", `{"model":"m","max_tokens":9,"messages":[],"stream":true}`,
		"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one"}}` + "\n\n",
		"event: error\n" + `data: {"type":"error","error":{"type":"api_error","message":"bad KEY"}}` + "\n\n",
	},
	"generateContent": {
		"gemini", "/v1beta/models/m:streamGenerateContent?alt=sse", `{"contents":[]}`, oldVertexChunk,
		`{"error":{"code":500,"message":"bad KEY","status":"INTERNAL"}}` + "\n\n",
	},
	"an array": {
		"gemini", "/v1beta/models/m:streamGenerateContent", `{"contents":[]}`,
		`[{"candidates":[{"content":{"parts":[{"text":"one"}]}}]}` + "\n,\n",
		`{"error":{"code":500,"message":"bad KEY","status":"INTERNAL"}}]`,
	},
	"lines": {
		"ollama", "/api/chat", `{"model":"m","messages":[]}`,
		`{"model":"m","message":{"content":"one"},"done":false}` + "\n", `{"error":"bad KEY"}` + "\n",
	},
}

// An error that comes in a stream, be it in one piece or in many, tells no key.
// What came before is untouched.
func TestKeyDoesNotShowInAnErrorWithinAStream(t *testing.T) {
	for name, test := range erroneous {
		for _, size := range []int{1, 7, 1 << 20} {
			for _, usage := range []string{usageInject, usageObserve} {
				_, text, call, _ := answeredInTwo(t, test.path, test.body, func(_ *Transport, p *Provider) { p.API, p.Usage = test.api, usage },
					func(w http.ResponseWriter) {
						media := "text/event-stream"
						if name == "an array" || name == "lines" {
							media = "application/json"
						}
						w.Header().Set("Content-Type", media)
					}, test.content, func(w http.ResponseWriter) {
						for failure := strings.ReplaceAll(test.failure, "KEY", canary); len(failure) > 0; {
							n := min(size, len(failure))
							_, _ = io.WriteString(w, failure[:n])
							_ = http.NewResponseController(w).Flush()
							failure = failure[n:]
						}
					})
				want := test.content + strings.ReplaceAll(test.failure, "KEY", strings.Repeat("*", len(canary)))
				if text != want || call.Outcome != OutcomeBroken {
					t.Errorf("%s in pieces of %d, usage %s: outcome %s\n%s", name, size, usage, call.Outcome, text)
				}
			}
		}
	}
}

// What only looked like an error keeps the order of its bytes, when the first of
// them might have been our key.
func TestWhatOnlyLookedLikeAnErrorKeepsItsOrder(t *testing.T) {
	rest := `anything","choices":[{"index":0,"delta":{"content":"two"}}]}` + "\n\n" + finishChunk + doneEvent
	_, text, call, err := answeredInTwo(t, "/v1/chat/completions", chatStreamBody, func(_ *Transport, p *Provider) { p.Usage = usageObserve },
		func(w http.ResponseWriter) { stream(w) }, roleChunk+chunk("one")+`data: {"detail":"`,
		func(w http.ResponseWriter) {
			stream(w, "s")
			time.Sleep(20 * time.Millisecond) // in a piece of its own
			stream(w, rest)
		})
	if want := roleChunk + chunk("one") + `data: {"detail":"s` + rest; err != nil || text != want || call.Outcome != OutcomeOK {
		t.Errorf("%v, outcome %s\n%s", err, call.Outcome, text)
	}
}

// Nor does one that is the last of what was held back for a rescue.
func TestKeyDoesNotShowWhereNoRescueComes(t *testing.T) {
	_, text, call, _ := answeredInTwo(t, "/v1/chat/completions", chatStreamBody, func(tr *Transport, _ *Provider) { tr.Rescue = rescueResume },
		func(w http.ResponseWriter) { stream(w) }, roleChunk+chunk("one"),
		func(w http.ResponseWriter) { stream(w, `data: {"error":{"message":"not with `+canary+`"}}`+"\n\n") })
	if !strings.HasPrefix(text, roleChunk+chunk("one")+`data: {"error":`) || mentions(text) || call.Outcome != OutcomeBroken {
		t.Errorf("outcome %s: %s", call.Outcome, text)
	}
}

// An answer that comes whole and turns out to be an error when some of it has
// been passed on tells no key; nor does an encoded stream, which breaks.
func TestKeyDoesNotShowInAnErrorThatComesLate(t *testing.T) {
	long := `{"id":"` + strings.Repeat("x", 100<<10) + `","error":{"message":"not with ` + canary + `"}}`
	_, text, _, err := answered(t, "/v1/chat/completions", chatBody, nil, func(w http.ResponseWriter) { answerJSON(w, 200, long) })
	if err != nil || text != strings.ReplaceAll(long, canary, strings.Repeat("*", len(canary))) {
		t.Errorf("%v: %d bytes of %d", err, len(text), len(long))
	}
	whole := compressed(true, roleChunk, chunk("one"), `data: {"error":{"message":"not with `+canary+`"}}`+"\n\n")
	said := compressed(false, roleChunk, chunk("one"))
	_, text, call, err := answeredInTwo(t, "/v1/chat/completions", chatStreamBody, nil, func(w http.ResponseWriter) { sendZipped(w, nil) },
		string(said), func(w http.ResponseWriter) { stream(w, string(whole[len(said):])) })
	if unzipped, _ := gzip.NewReader(strings.NewReader(text)); unzipped != nil {
		plain, _ := io.ReadAll(unzipped)
		text += string(plain)
	}
	if err == nil || mentions(text) || call.Outcome != OutcomeBroken {
		t.Errorf("%v, outcome %s: %s", err, call.Outcome, text)
	}
}

// An exception in Amazon's framing keeps its lengths, and loses its key.
func TestKeyDoesNotShowInAnException(t *testing.T) {
	said := eventstreamtest.Frame(`{"delta":{"text":"one"},"contentBlockIndex":0}`, ":message-type", "event", ":event-type", "contentBlockDelta")
	failed := eventstreamtest.Frame(`{"message":"not with `+canary+`"}`, ":message-type", "exception", ":exception-type", "modelStreamErrorException")
	_, text, call, _ := answeredInTwo(t, "/model/m/converse-stream", `{"messages":[]}`, func(_ *Transport, p *Provider) { p.API = "bedrock" },
		func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/vnd.amazon.eventstream") },
		said, func(w http.ResponseWriter) { _, _ = io.WriteString(w, failed) })
	if !strings.HasPrefix(text, said) || len(text) != len(said)+len(failed) || mentions(text) || call.Outcome != OutcomeBroken {
		t.Errorf("outcome %s: %q", call.Outcome, text)
	}
}

// What an answer says that is no error is the client's, whatever it is. But it
// gets into no record of the call.
func TestKeyInAnOrdinaryAnswerIsNotWrittenDown(t *testing.T) {
	said := strings.NewReplacer("gpt-4o-2024-08-06", canary, `"stop"`, `"`+canary+`"`)
	for name, body := range map[string]string{"whole": said.Replace(chatAnswer), "streamed": said.Replace(roleChunk + chunk(canary) + finishChunk + doneEvent)} {
		res, text, call, err := answered(t, "/v1/chat/completions", map[string]string{"whole": chatBody, "streamed": chatStreamBody}[name], nil, func(w http.ResponseWriter) {
			w.Header().Set("Trailer", "X-Debug")
			if name == "whole" {
				answerJSON(w, 200, body)
			} else {
				stream(w, body)
			}
			w.Header().Set("X-Debug", canary)
		})
		if err != nil || text != body || mentions(fmt.Sprint(res.Trailer)) {
			t.Errorf("%s: %v, trailer %v, %s", name, err, res.Trailer, text)
		}
		if call.Outcome != OutcomeOK || mentions(fmt.Sprintf("%+v", call.Result)) {
			t.Errorf("%s: outcome %s, %+v", name, call.Outcome, call.Result)
		}
	}
}

// Nor does it get into what is logged of a fault.
func TestKeyInAFaultIsNotLogged(t *testing.T) {
	call := &Call{Cause: errors.New("malformed trailer " + canary)}
	call.Result.Model = "a name that was cut off in the middle of " + canary[:20]
	call.hideSecret(keypool.NewSecret(canary))
	if mentions(call.Cause.Error()) || mentions(call.Result.Model) {
		t.Errorf("got %v, %s", call.Cause, call.Result.Model)
	}
	call.Result.Model = "m"
	if call.hideSecret(keypool.Secret{}); call.Result.Model != "m" {
		t.Error("no key is everywhere")
	}
}

// An error and a goodbye in a session tell no key, in however many pieces they
// come. Frames keep their lengths, and what is none of these is untouched.
func TestKeyDoesNotShowInASession(t *testing.T) {
	frames := func(key string) []byte {
		return bytes.Join([][]byte{
			websockettest.Frame(websockettest.Last|websockettest.Text, []byte(`{"type":"response.output_text.delta","delta":"`+canary+`"}`), nil),
			websockettest.Frame(websockettest.Last|websockettest.Text, []byte(`{"type":"error","error":{"type":"server_error","message":"bad `+key+`"}}`), nil),
			websockettest.Frame(websockettest.Last|websockettest.Text, []byte(`{"type":"response.output_text.delta","delta":"`+canary+`"}`), nil),
			websockettest.Frame(websockettest.Close, append([]byte{0x0f, 0xa1}, "no longer with "+key...), nil),
		}, nil)
	}
	want := frames(strings.Repeat("*", len(canary)))
	for _, size := range []int{1, 13, 1 << 10} {
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}})
			if err == nil {
				conn.CloseNow()
			}
		})
		tr := provision(t, &Transport{Providers: []*Provider{{Name: "p", BaseURL: up.URL, Keys: []*Key{{Secret: canary}}}}})
		res, call := shake(t, tr, realtimePath)
		s := res.Body.(*session)
		s.conn = &pieces{ReadWriteCloser: s.conn, left: frames(canary), size: size}
		var got bytes.Buffer
		if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{s}, make([]byte, 50)); err != nil {
			t.Error(err)
		}
		call.Close()
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("in pieces of %d: got %q", size, got.String())
		}
		if call.Cause == nil || mentions(call.Cause.Error()) || mentions(fmt.Sprintf("%+v", call.Attempts)) {
			t.Errorf("in pieces of %d: %v", size, call.Cause)
		}
	}
}

// pieces is a connection from which this is read, piece by piece.
type pieces struct {
	io.ReadWriteCloser
	left []byte
	size int
}

func (c *pieces) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[:min(c.size, len(c.left))])
	c.left = c.left[n:]
	return n, nil
}

// Whatever pieces a text comes in, a veil hides each key in it and nothing else,
// and keeps back no more than may be the beginning of one.
func FuzzVeil(f *testing.F) {
	f.Add("aab", "aaaabaab aab", uint8(3))
	f.Add(canary, "x"+canary+canary[:5]+"\n", uint8(7))
	f.Fuzz(func(t *testing.T, key, text string, size uint8) {
		if strings.Contains(key, "*") {
			return
		}
		v := veil{secret: keypool.NewSecret(key)}
		var got []byte
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			got = v.Write(got, []byte(rest[:n]))
			rest = rest[n:]
			seen := len(text) - len(rest)
			if held := seen - len(got); held < 0 || held > 0 && !strings.HasPrefix(key, text[seen-held:seen]) {
				t.Fatalf("keeps back %d of %q", held, text[:seen])
			}
		}
		want := text
		if key != "" {
			want = strings.ReplaceAll(text, key, strings.Repeat("*", len(key)))
		}
		if got = v.End(got); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Encoders of JSON and of URLs escape some of the letters of keys that are
// base64.
func TestEscapedKeyIsFound(t *testing.T) {
	secret := keypool.NewSecret("CANARY/abc+def==")
	for text, want := range map[string]bool{
		`wrong key CANARY\/abc+def==.`: true, `CANARY\/abc\u002Bdef==`: true, `CANARY/abc\u002bdef\u003d\u003d`: true,
		`?key=CANARY%2Fabc%2bdef%3D%3D`: true, `100% \ CANARY`: false, `CANARY%2`: false, `\u00`: false, `%`: false, `\`: false,
	} {
		if repeats(text, secret) != want {
			t.Errorf("%q: got %t", text, !want)
		}
	}
}
