// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func TestErrorsWithinASuccessAreFailures(t *testing.T) {
	output := stream(`{"choices":[{"delta":{"content":"a"}}]}`)
	for _, test := range []struct {
		name           string
		dialect        *Dialect
		media          string
		body, want     string
		startedUpFront bool
	}{
		{"a body", dialectChat, jsonType, " {\"error\": {\"code\":\"content_filter\"}}\n", `{"error": {"code":"content_filter"}}`, false},
		{"a body in an array", dialectGenerate, jsonType, `[{"error":{"code":429}}]`, `{"error":{"code":429}}`, false},
		{"a body that is cut off", dialectChat, jsonType, `{"error":{"message":"no`, `{"error":{"message":"no`, false},
		{"a text", dialectChat, jsonType, `{"error":"no"}`, `{"error":"no"}`, false},
		{"an event", dialectChat, eventStreamType, output + stream(`{"error":{"code":500}}`, "[DONE]"), `{"error":{"code":500}}`, true},
		{"an event with that name", dialectChat, eventStreamType, "event: error\ndata: out of\ndata: luck\n\n", "out of\nluck", false},
		{"an event with nothing but that name", dialectChat, eventStreamType, "event: error\n\n", "error", false},
		{"an event with that name and blank data", dialectChat, eventStreamType, "event: error\ndata:   \n\n", "error", false},
		{"an event whose name says so", dialectResponses, eventStreamType, "event: response.failed\n\n", "response.failed", false},
		{"a choice", dialectChat, eventStreamType, stream(`{"choices":[{"error":{"code":502},"finish_reason":"error"}]}`), `{"choices":[{"error":{"code":502},"finish_reason":"error"}]}`, false},
		{"a detail", dialectChat, eventStreamType, output + stream(`{"detail":"out of luck"}`), `{"detail":"out of luck"}`, true},
		{"a list of details", dialectChat, eventStreamType, output + stream(`{"detail":[{"msg":"no"}],"status":422}`), `{"detail":[{"msg":"no"}],"status":422}`, true},
		{"a detail, TGI", dialectTGI, eventStreamType, stream(`{"detail":"no"}`), `{"detail":"no"}`, false},
		{"a detail, Anthropic", dialectMessages, eventStreamType, stream(`{"detail":"no"}`), `{"detail":"no"}`, false},
		{"a detail, Responses", dialectResponses, eventStreamType, stream(`{"detail":"no"}`), `{"detail":"no"}`, false},
		{"a field", dialectChat, eventStreamType, output + "error: {\"code\":500}\n\n", `{"code":500}`, true},
		{"bare JSON behind events", dialectGenerate, eventStreamType, stream(`{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`) + "{\n \"error\": {\"code\": 499}\n}\n", "{\n \"error\": {\"code\": 499}\n}", true},
		{"Anthropic", dialectMessages, eventStreamType, "event: error\n" + stream(`{"type":"error","error":{"type":"overloaded_error"}}`), `{"type":"error","error":{"type":"overloaded_error"}}`, false},
		{"Responses, nested", dialectResponses, eventStreamType, stream(`{"type":"error","error":{"code":"x"}}`, `{"type":"response.failed","response":{"error":{"code":"y"}}}`), `{"type":"error","error":{"code":"x"}}`, false},
		{"Responses, flat", dialectResponses, eventStreamType, stream(`{"code":"x","message":"m","type":"error"}`), `{"code":"x","message":"m","type":"error"}`, false},
		{"Responses, failed", dialectResponses, eventStreamType, stream(`{"type":"response.failed","response":{"status":"failed","error":null}}`), `{"type":"response.failed","response":{"status":"failed","error":null}}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{len(test.body), 1, 5} {
				got := scanned(test.dialect, test.media, []byte(test.body), func() int { return size })
				if got.failure != test.want || got.started != test.startedUpFront {
					t.Errorf("in pieces of %d: started %t, failure %q", size, got.started, got.failure)
				}
			}
		})
	}
}

func TestWhatLooksLikeAnErrorIsNone(t *testing.T) {
	for name, body := range map[string]string{
		"null":                 stream(`{"error":null,"choices":[{"delta":{"content":"a"}}]}`),
		"an empty text":        stream(`{"error":""}`),
		"a detail of a choice": stream(`{"detail":"x","choices":[{"delta":{"content":"a"}}]}`),
		"a detail beside text": stream(`{"choices":[{"delta":{"content":"a"}}],"detail":"x"}`),
		"a detail of a chunk":  stream(`{"detail":"x","object":"chat.completion.chunk","choices":[]}`),
		"no detail":            stream(`{"detail":null}`, `{"detail":""}`, `{"detail":7}`),
		"further down":         stream(`{"choices":[{"delta":{"tool_calls":[{"error":"x"}]}}]}`),
		"in a text":            stream(`{"choices":[{"delta":{"content":"{\"error\":{}}"}}]}`),
		"a stray line":         "error handling\n\n" + stream(`{}`),
		"a comment":            ": error: {}\n\n",
		"an unknown field":     "errors: {}\n\n",
		"stray JSON":           stream(`{}`) + "{\"choices\":[{\"error\":1}]}\n\n",
		"a word in a field":    "id: error\n\n",
	} {
		if got := scanned(dialectChat, eventStreamType, []byte(body), func() int { return len(body) }); got.failed {
			t.Errorf("%s: failure %q", name, got.failure)
		}
	}
}

func TestAFailureIsKnownBeforeTheStreamEnds(t *testing.T) {
	s := NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, eventStreamType, "")
	defer s.Release()
	s.Write([]byte(stream(`{"error":{"code":500}}`)))
	if s.Failure() == nil {
		t.Error("an error event is not known yet")
	}
}

func TestFailuresAreBounded(t *testing.T) {
	body := stream(`{"error":{"message":"` + strings.Repeat("x", 1<<20) + `"}}`)
	for _, body := range []string{body, "error: " + body, `{"error":"` + strings.Repeat("x", 1<<20) + `"}`} {
		got := scanned(dialectChat, eventStreamType, []byte(body), func() int { return 1 << 15 })
		if n := len(got.failure); n == 0 || n > 64<<10 {
			t.Errorf("%.10s…: a failure of %d bytes", body, n)
		}
	}
}

func TestAFailureThatRepeatsALongRequestIsJudged(t *testing.T) {
	body := stream(`{"type":"response.failed","response":{"model":"m","status":"failed","error":{"code":"insufficient_quota","message":"no more"},"instructions":"` +
		strings.Repeat("be kind, ", 20_000) + `"}}`)
	got := scanned(dialectResponses, eventStreamType, []byte(body), func() int { return 1400 })
	verdict := (&Request{}).Judge(http.StatusOK, nil, []byte(got.failure), time.Now())
	if len(got.failure) > maxEvent || verdict.Class != keypool.ClassQuota {
		t.Errorf("%d bytes of failure are %s (%s)", len(got.failure), verdict.Class, verdict.Detail)
	}
}
