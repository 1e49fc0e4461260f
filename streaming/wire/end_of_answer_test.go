// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
	"testing"
)

// An answer is whole when the event that says so is: not in the middle of it,
// when a client has got only half.
func TestAnswerEndsWithAnEvent(t *testing.T) {
	for name, test := range map[string]struct {
		dialect *Dialect
		last    string
	}{
		"chat":      {dialectChat, `data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5}}` + "\n\n"},
		"responses": {dialectResponses, "event: response.completed\n" + `data: {"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":5}}}` + "\n\n"},
		"messages":  {dialectMessages, "event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"},
		"generate":  {dialectGenerate, `data: {"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5}}` + "\r\n\r\n"},
	} {
		s := NewScanner(&Operation{Dialect: test.dialect}, http.StatusOK, eventStreamType, "")
		for i := range len(test.last) - 2 {
			s.Write([]byte(test.last[i : i+1]))
			if s.Ended() {
				t.Fatalf("%s: ended behind %q", name, test.last[:i+1])
			}
		}
		s.Write([]byte(test.last[len(test.last)-2:]))
		if !s.Ended() || !s.Final() {
			t.Errorf("%s: not ended", name)
		}
		s.Release()

		// The connection may end in good order in the middle of the event.
		for _, cut := range []int{strings.Index(test.last, "{") + 3, len(test.last) - 6} {
			s := NewScanner(&Operation{Dialect: test.dialect}, http.StatusOK, eventStreamType, "")
			s.Write([]byte(test.last[:cut]))
			s.Close()
			if s.Ended() {
				t.Errorf("%s: ended with %q", name, test.last[:cut])
			}
			s.Release()
		}
	}
}

// What only lacks the empty line behind it is whole.
func TestAnswerEndsWithoutAnEmptyLine(t *testing.T) {
	for _, last := range []string{"data: [DONE]", `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}`, `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n"} {
		if got := scanned(dialectChat, eventStreamType, []byte(last), func() int { return 7 }); !got.ended {
			t.Errorf("%q: not ended", last)
		}
	}
}

// A finish reason in every event ends a stream that stops there, but does not
// say that it will.
func TestFinishReasonInEveryEvent(t *testing.T) {
	s := NewScanner(&Operation{Dialect: dialectGenerate}, http.StatusOK, eventStreamType, "")
	defer s.Release()
	for range 3 {
		s.Write([]byte(`data: {"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}` + "\n\n"))
		if !s.Ended() || s.Final() {
			t.Fatalf("ended %t, final %t", s.Ended(), s.Final())
		}
	}
	s.Write([]byte(`data: {"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1}}` + "\n\n"))
	if !s.Final() {
		t.Error("the usage is said at the end")
	}
}
