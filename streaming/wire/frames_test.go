// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/eventstream/eventstreamtest"
)

const framesType = "application/vnd.amazon.eventstream"

var frame = eventstreamtest.Frame

// event is a frame with an event of that type, chunk one that wraps JSON.
func event(kind, payload string) string {
	return frame(payload, ":event-type", kind, ":content-type", jsonType, ":message-type", "event")
}

func chunk(inner string) string {
	return event("chunk", `{"p":"abc","bytes":"`+base64.StdEncoding.EncodeToString([]byte(inner))+`"}`)
}

func TestFramesAreReadAlong(t *testing.T) {
	long := strings.Repeat("usage", 10_000)
	for _, test := range []readAlong{
		{
			"Converse", dialectConverse, framesType,
			event("messageStart", `{"role":"assistant"}`) +
				event("contentBlockDelta", `{"delta":{"text":"hi"},"p":"abcd"}`) +
				event("messageStop", `{"stopReason":"max_tokens"}`) +
				event("metadata", `{"usage":{"inputTokens":5,"outputTokens":7,"cacheReadInputTokens":10,"cacheWriteInputTokens":1}}`),
			summary{"", "max_tokens", "length", 16, 7, 10, 4, 1, true, true, false, true},
		},
		{
			"Converse that is cut off", dialectConverse, "",
			event("messageStart", `{"role":"assistant"}`) + event("contentBlockDelta", `{"delta":{"toolUse":{"input":"{\"stopReason\":1}"}}}`)[:60],
			summary{"", "", "", 0, 0, 0, 1, -1, false, false, false, false},
		},
		{
			"a model of Anthropic", dialectInvoke, framesType,
			chunk(`{"type":"message_start","message":{"model":"m1","usage":{"input_tokens":5,"cache_read_input_tokens":10,"output_tokens":1}}}`) +
				chunk(`{"type":"content_block_delta","delta":{"text":"`+long+`"}}`) +
				chunk(`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}`) +
				chunk(`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":99,"outputTokenCount":99}}`),
			summary{"m1", "end_turn", "stop", 15, 7, 10, 4, 1, true, true, false, true},
		},
		{
			"a model that states no usage", dialectInvoke, framesType,
			chunk(`{"completion":" hi","stop_reason":null}`) +
				chunk(`{"completion":"","stop_reason":"stop_sequence","amazon-bedrock-invocationMetrics":{"inputTokenCount":5,"outputTokenCount":7,"cacheReadInputTokenCount":10}}`),
			summary{"", "stop_sequence", "stop", 15, 7, 10, 2, 0, true, true, false, true},
		},
		{
			"a model that speaks OpenAI's format", dialectInvoke, framesType,
			chunk(`{"model":"m1","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}`) +
				chunk(`{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3}}}`),
			summary{"m1", "length", "length", 5, 7, 3, 2, 1, true, true, false, true},
		},
		{
			"an exception", dialectConverse, framesType,
			event("messageStart", `{"role":"assistant"}`) + frame(`{"message":"Too many requests"}`, ":exception-type", "throttlingException", ":message-type", "exception"),
			summary{"", "", "", 0, 0, 0, 2, -1, false, false, true, false},
		},
		{
			"an exception among wrapped events", dialectInvoke, framesType,
			frame(`{"message":"Too many requests"}`, ":exception-type", "throttlingException", ":message-type", "exception"),
			summary{"", "", "", 0, 0, 0, 1, -1, false, false, true, false},
		},
	} {
		t.Run(test.name, test.run)
	}
}

func TestExceptionsInFramesAreJudgedByTheirName(t *testing.T) {
	for _, test := range []struct {
		frame, failure string
		class          keypool.Class
	}{
		{
			frame(`{"message":"slow \"down\""}`, ":exception-type", "throttlingException", ":message-type", "exception"),
			`{"__type":"throttlingException","message":"slow \"down\""}`, keypool.ClassRateLimited,
		},
		{frame(`{}`, ":exception-type", "modelStreamErrorException"), `{"__type":"modelStreamErrorException"}`, keypool.ClassUpstream},
		{frame(`{"message":"no"}`, ":exception-type", "validationException"), `{"__type":"validationException","message":"no"}`, keypool.ClassCaller},
		{frame(`{"message":"no"}`, ":exception-type", "serviceUnavailableException"), `{"__type":"serviceUnavailableException","message":"no"}`, keypool.ClassOverloaded},
		{
			frame("", ":message-type", "error", ":error-code", "internalServerError", ":error-message", "oh\nno"),
			`{"__type":"internalServerError","message":"oh\nno"}`, keypool.ClassUpstream,
		},
		{chunk(`{"type":"error","error":{"type":"overloaded_error"}}`), `{"type":"error","error":{"type":"overloaded_error"}}`, keypool.ClassOverloaded},
	} {
		got := scanned(dialectInvoke, framesType, []byte(test.frame), func() int { return 7 }).failure
		verdict := (&Request{}).Judge(http.StatusOK, nil, []byte(got), time.Now())
		if got != test.failure || verdict.Class != test.class {
			t.Errorf("%q is %s, want %q as %s", got, verdict.Class, test.failure, test.class)
		}
	}
}

func TestBedrockMetersInTheHeader(t *testing.T) {
	header := http.Header{
		"X-Amzn-Bedrock-Input-Token-Count":            {"5"},
		"X-Amzn-Bedrock-Output-Token-Count":           {"7"},
		"X-Amzn-Bedrock-Cache-Read-Input-Token-Count": {"10"},
	}
	for body, want := range map[string][2]int64{
		`{"outputs":[{"text":"hi","stop_reason":"stop"}]}`:                            {15, 7},
		`{"generation":"hi","prompt_token_count":3,"generation_token_count":4}`:       {3, 4},
		`{"inputTextTokenCount":3,"embedding":[0.1]}`:                                 {15, 7},
		`{"usage":{"inputTokens":3,"outputTokens":4,"cacheReadInputTokens":1}}`:       {4, 4},
		`{"inputTextTokenCount":3,"results":[{"tokenCount":4,"outputText":"usage"}]}`: {3, 4},
	} {
		s := NewScanner(&Operation{Dialect: dialectInvoke}, http.StatusOK, jsonType, "")
		s.ReadHeader(header)
		got := feed(s, []byte(body), func() int { return 9 }).Usage
		if got.InputTotal() != want[0] || got.OutputTotal() != want[1] {
			t.Errorf("%s: %+v, want %v", body, got, want)
		}
	}
}

func TestReadingFramesAllocatesNothingPerEvent(t *testing.T) {
	s := NewScanner(&Operation{Dialect: dialectInvoke}, http.StatusOK, framesType, "")
	defer s.Release()
	event := []byte(chunk(`{"type":"content_block_delta","delta":{"text":"` + strings.Repeat("hello", 50) + `"}}`))
	s.Write(event)
	if n := testing.AllocsPerRun(1000, func() { s.Write(event[:50]); s.Write(event[50:]) }); n != 0 {
		t.Errorf("%v allocations per event", n)
	}
}

// BenchmarkFrames reads events as Bedrock wraps them.
func BenchmarkFrames(b *testing.B) {
	event := []byte(chunk(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + strings.Repeat("hello", 10) + `"}}`))
	s := NewScanner(&Operation{Dialect: dialectInvoke}, http.StatusOK, framesType, "")
	defer s.Release()
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		s.Write(event)
	}
}

func TestAGiantFrameTakesLittleMemory(t *testing.T) {
	inner := `{"type":"content_block_delta","delta":{"text":"` + strings.Repeat("hello", 3<<20) + `"}}`
	body := []byte(chunk(inner))
	s := NewScanner(&Operation{Dialect: dialectInvoke}, http.StatusOK, framesType, "")
	defer s.Release()
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 32<<10)
		s.Write(rest[:n])
		rest = rest[n:]
	}
	if size := int(unsafe.Sizeof(*s)) + cap(s.text) + cap(s.stray); size >= 64<<10 || s.Result().FirstOutputEvent != 0 {
		t.Errorf("the scanner takes %d bytes for %d, %+v", size, len(body), s.Result())
	}
}
