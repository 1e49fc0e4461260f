// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
)

// requestFor recognizes a request and reads its body.
func requestFor(t *testing.T, path, body string) *Request {
	t.Helper()
	r, err := Recognize(http.MethodPost, &url.URL{Path: path}, http.Header{})
	if err == nil {
		err = r.ReadBody(jsonType, []byte(body))
	}
	if err != nil {
		t.Fatalf("%s %s: %v", path, body, err)
	}

	return r
}

func TestUsageIsAskedForWhereTheClientDidNot(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"m","stream":true}`:                                                `{"stream_options":{"include_usage":true},"model":"m","stream":true}`,
		" {\n \"stream\": true, \"model\": \"m\" }\n":                                " {\"stream_options\":{\"include_usage\":true},\n \"stream\": true, \"model\": \"m\" }\n",
		`{"model":"m","stream":true,"stream_options":{}}`:                            `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"m","stream":true,"stream_options": { } }`:                         `{"model":"m","stream":true,"stream_options": {"include_usage":true } }`,
		`{"model":"m","stream":true,"stream_options":null,"n":1.0e0}`:                `{"model":"m","stream":true,"stream_options":{"include_usage":true},"n":1.0e0}`,
		`{"model":"m","stream":true,"stream_options":{"include_usage":false}}`:       `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"m","stream":true,"stream_options":{"include_usage":null}}`:        `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"m","stream":true,"stream_options":{"include_obfuscation":false}}`: `{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}`,
		`{"model":"m","stream":true,"x":{"stream_options":{"include_usage":true}}}`:  `{"stream_options":{"include_usage":true},"model":"m","stream":true,"x":{"stream_options":{"include_usage":true}}}`,
	} {
		for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/openai/v1/chat/completions"} {
			if got, ok := requestFor(t, path, body).AskForUsage([]byte(body)); string(got) != want || !ok {
				t.Errorf("%s %s:\n got %s, %t\nwant %s", path, body, got, ok, want)
			}
		}
	}
}

func TestUsageIsNotAskedForWhereThatIsNoUse(t *testing.T) {
	for _, test := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"model":"m"}`},
		{"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`},
		{"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":"yes"}`},
		{"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":[]}`},
		{"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":"yes"}}`},
		{"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{},"stream_options":{}}`},
		{"/v1/responses", `{"model":"m","stream":true}`},
		{"/v1/messages", `{"model":"m","stream":true}`},
		{"/api/chat", `{"model":"m","stream":true}`},
	} {
		if got, ok := requestFor(t, test.path, test.body).AskForUsage([]byte(test.body)); string(got) != test.body || ok {
			t.Errorf("%s %s: got %s, %t", test.path, test.body, got, ok)
		}
	}
}

// filtered passes a stream through a filter in pieces of a size.
func filtered(body []byte, size int) (out []byte, held int) {
	var f UsageFilter
	for len(body) > 0 {
		n := min(size, len(body))
		out = f.Write(out, body[:n])
		held = max(held, len(f.held))
		body = body[n:]
	}

	return f.End(out, false), held
}

func TestWhatAskingForUsageBringsInIsTakenOut(t *testing.T) {
	const extra = `data: {"id":"x","choices":[],"usage":{"prompt_tokens":5,"x":{"y":[]}},"obfuscation":"ab"}` + "\n\n"
	for name, test := range map[string]struct{ in, want string }{
		"in every event": {
			`data: {"id":"x","choices":[{"delta":{"content":"a,\"usage\":null"}}],"usage":null,"obfuscation":"ab"}` + "\n\n" +
				`data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n" + extra + "data: [DONE]\n\n",
			`data: {"id":"x","choices":[{"delta":{"content":"a,\"usage\":null"}}],"obfuscation":"ab"}` + "\n\n" +
				`data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n" + "data: [DONE]\n\n",
		},
		"with spaces": {
			`data:{ "usage" : null , "choices" : [ {} ] , "usage" : null }` + "\n\n", `data:{  "choices" : [ {} ]  }` + "\n\n",
		},
		"alone":                          {`data: {"usage":null}` + "\n\n", `data: {}` + "\n\n"},
		"deeper":                         {`data: {"choices":[{"usage":null,"x":1,"usage":null}]}` + "\n\n", `data: {"choices":[{"usage":null,"x":1,"usage":null}]}` + "\n\n"},
		"usage of a last choice stays":   {`data: {"choices":[{}],"usage":{"prompt_tokens":5}}` + "\n\n", `data: {"choices":[{}],"usage":{"prompt_tokens":5}}` + "\n\n"},
		"no choices and no usage stay":   {`data: {"choices":[],"prompt_filter_results":[{}],"usage":null}` + "\n\n", `data: {"choices":[],"prompt_filter_results":[{}]}` + "\n\n"},
		"an error stays":                 {`data: {"error":{},"choices":[],"usage":{}}` + "\n\n", `data: {"error":{},"choices":[],"usage":{}}` + "\n\n"},
		"what begins like a null":        {`data: {"choices":[{}],"usage":nul,"a":1}` + "\n\n", `data: {"choices":[{}],"usage":nul,"a":1}` + "\n\n"},
		"CR LF":                          {strings.ReplaceAll(": hi\n\n"+extra+"data: [DONE]\n\n", "\n", "\r\n"), ": hi\r\n\r\ndata: [DONE]\r\n\r\n"},
		"CR":                             {strings.ReplaceAll(extra+"data: [DONE]\n\n", "\n", "\r"), "data: [DONE]\r\r"},
		"an event with a name":           {"event: message\nid: 1\n" + extra + "event: end\ndata: x\n\n", "event: end\ndata: x\n\n"},
		"an end without an empty line":   {strings.TrimRight(extra, "\n"), ""},
		"half an event":                  {`data: {"choices":[],"usage":{"a"`, `data: {"choices":[],"usage":{"a"`},
		"an event of many lines":         {"data: {\"a\":1,\ndata: \"usage\":null}\n\n", "data: {\"a\":1,\ndata: \"usage\":null}\n\n"},
		"an array":                       {"data: [{\"usage\":null}]\n\n", "data: [{\"usage\":null}]\n\n"},
		"what is no event":               {"error: {\"usage\":null}\n\n{\"usage\":null}", "error: {\"usage\":null}\n\n{\"usage\":null}"},
		"a key that only looks like it":  {`data: {"choices":[{}],"us\u0061ge":null,"usages":null,"usag":null}` + "\n\n", `data: {"choices":[{}],"us\u0061ge":null,"usages":null,"usag":null}` + "\n\n"},
		"a long key, and long spaces":    {`data: {"choices":[{}],"` + strings.Repeat("k", 2*maxFiltered) + `":1,` + strings.Repeat(" ", 2*maxFiltered) + `"usage":null,"usage":null}` + "\n\n", `data: {"choices":[{}],"` + strings.Repeat("k", 2*maxFiltered) + `":1,` + strings.Repeat(" ", 2*maxFiltered) + `"usage":null}` + "\n\n"},
		"a long text before the choices": {`data: {"a":"` + strings.Repeat("\\\"", maxFiltered) + `","choices":[{}],"usage":null}` + "\n\n", `data: {"a":"` + strings.Repeat("\\\"", maxFiltered) + `","choices":[{}]}` + "\n\n"},
	} {
		for _, size := range []int{1, 2, 3, 7, 100, len(test.in)} {
			got, held := filtered([]byte(test.in), size)
			if string(got) != test.want {
				t.Errorf("%s in pieces of %d:\n got %.300q\nwant %.300q", name, size, got, test.want)
			}
			if held > maxFiltered {
				t.Errorf("%s in pieces of %d: %d bytes held", name, size, held)
			}
		}
	}
}

// Half of what asking brought in is not passed on when a stream is cut off,
// whatever is half of it; what the client would have got without is.
func TestHalfOfWhatAskingBroughtInIsTakenOut(t *testing.T) {
	const (
		whole = `data: {"id":"x","choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n"
		extra = `data: {"id":"x","choices":[],"usage":{"prompt_tokens":5,"x":{"y":[]}},"obfuscation":"ab"}` + "\n\n"
	)
	for cut := range len(extra) {
		for _, before := range []string{whole, whole + ": hi\n\n", whole + "id: 7\n\n"} {
			var f UsageFilter
			got := f.End(f.Write(nil, []byte(before+extra[:cut])), true)
			if string(got) != before {
				t.Errorf("cut after %q: got %q", extra[:cut], got)
			}
		}
	}
	asking := strings.TrimSuffix(whole, "}\n\n") + `,"usage":null}`
	for cut := range len(asking) {
		var f UsageFilter
		got := string(f.End(f.Write(nil, []byte(asking[:cut])), false))
		if want := whole[:min(cut, len(whole)-len("}\n\n"))]; got != want && (got != asking[:cut] || !strings.HasPrefix(`,"usage`, asking[len(want):cut])) {
			t.Errorf("cut after %q: got %q", asking[:cut], got)
		}
	}
	const done = "data: [DONE]"
	for cut := range len(done) {
		var f UsageFilter
		got := string(f.End(f.Write(nil, []byte(whole+done[:cut])), true))
		if got != whole && got != whole+done[:cut] {
			t.Errorf("cut after %q: got %q", done[:cut], got)
		}
	}
}

func TestNothingIsHeldBehindTheFirstChoice(t *testing.T) {
	var f UsageFilter
	const begun = `data: {"id":"x","choices":[{"delta":{"content":"hel`
	if got := f.Write(nil, []byte(begun)); string(got) != begun {
		t.Errorf("passed on %q", got)
	}
	if got := f.Write(nil, []byte(`lo"}}],"us`)); string(got) != `lo"}}]` {
		t.Errorf("passed on %q", got)
	}
}

// TestRecordedStreamsSurviveTheAsking asks for usage in recorded streams that
// have none, and takes it out again.
func TestRecordedStreamsSurviveTheAsking(t *testing.T) {
	streams := 0
	for _, recording := range recordings.Load(t) {
		dialect, _ := recordedDialect(recording.Want.API)
		body := recording.Body
		if dialect != dialectChat || recording.Want.Format != "sse" || bytes.HasPrefix(body, gzipMagic) || bytes.Contains(body, []byte(`"usage"`)) {
			continue
		}
		streams++
		for _, size := range []int{1, 13, 1400, len(body)} {
			if got, _ := filtered(asked(body), size); !bytes.Equal(got, body) {
				t.Errorf("%s in pieces of %d: got %d bytes, want %d", recording.Name, size, len(got), len(body))
			}
		}
	}
	if streams == 0 {
		t.Skip("no recorded stream lacks usage")
	}
}

// asked returns a stream as it would be, had its usage been asked for.
func asked(body []byte) []byte {
	end := "\n\n"
	if bytes.Contains(body, []byte("\r\n")) {
		end = "\r\n\r\n"
	}
	var out []byte
	for line := range bytes.Lines(body) {
		trimmed := bytes.TrimRight(line, "\r\n ")
		switch {
		case bytes.Contains(line, doneMarker):
			out = append(out, `data: {"choices":[],"usage":{"prompt_tokens":1}}`+end...)
		case bytes.HasPrefix(line, []byte("data:")) && bytes.HasSuffix(trimmed, []byte("}")):
			out = append(append(out, trimmed[:len(trimmed)-1]...), `,"usage":null}`...)
			line = line[len(trimmed):]
		}
		out = append(out, line...)
	}

	return out
}

// FuzzUsageFilter wants the same bytes however the stream is cut, little held,
// and nothing left to take out.
func FuzzUsageFilter(f *testing.F) {
	for _, seed := range []string{
		"data: {\"choices\":[],\"usage\":{}}\n\n", "data: {\"choices\":[{}],\"usage\":null}\r\n\r\n", "data:{\"usage\":null,\"usage\":nul}\r\r", ": x\n\nid:1\ndata: {",
	} {
		f.Add([]byte(seed), uint8(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, size uint8) {
		whole, _ := filtered(body, max(1, len(body)))
		cut, held := filtered(body, int(size)+1)
		if !bytes.Equal(whole, cut) || held > maxFiltered {
			t.Errorf("whole %q\npieces %q, held %d", whole, cut, held)
		}
		if !bytes.Contains(body, []byte("usage")) && !bytes.Equal(whole, body) {
			t.Errorf("without any usage %q became %q", body, whole)
		}
	})
}

// FuzzAskForUsage wants a request that asks for the usage, and otherwise says
// what it said before.
func FuzzAskForUsage(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","stream":true}`, ` {"stream":true,"model":"m","stream_options":{ }}`, `{"model":"m","stream":true,"stream_options":null}`,
		`{"model":"m","stream":true,"stream_options":{"include_usage":false,"a":[{}]}}`, `{"model":"m","stream":true,"stre\u0061m_options":{}}`,
		`{"stream_options":{},"model":"m","stream":true,"stream_options":{"include_usage":false}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Recognize(http.MethodPost, &url.URL{Path: "/v1/chat/completions"}, http.Header{})
		if err != nil || r.ReadBody(jsonType, body) != nil || !json.Valid(body) {
			return
		}
		asking, ok := r.AskForUsage(bytes.Clone(body))
		if !ok {
			if !bytes.Equal(asking, body) {
				t.Errorf("%q became %q", body, asking)
			}
			return
		}
		var before, after map[string]any
		if json.Unmarshal(body, &before) != nil || json.Unmarshal(asking, &after) != nil {
			t.Fatalf("%q became %q", body, asking)
		}
		options, _ := after["stream_options"].(map[string]any)
		if options["include_usage"] != true {
			t.Errorf("%q became %q, which does not ask", body, asking)
		}
		delete(options, "include_usage")
		old, had := before["stream_options"].(map[string]any)
		delete(old, "include_usage")
		if !had {
			delete(before, "stream_options")
			if len(options) == 0 {
				delete(after, "stream_options")
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q", body, asking)
		}
	})
}

func TestFilteringAllocatesNothingPerEvent(t *testing.T) {
	var f UsageFilter
	event, out := []byte(longChatChunk), make([]byte, 0, 2*len(longChatChunk))
	f.Write(out, event)
	if n := testing.AllocsPerRun(1000, func() { f.Write(out, event) }); n != 0 {
		t.Errorf("%v allocations per event", n)
	}
}

func BenchmarkUsageFilter(b *testing.B) {
	var f UsageFilter
	event, out := []byte(longChatChunk), make([]byte, 0, 2*len(longChatChunk))
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		f.Write(out, event)
	}
}
