// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestShortAnswerIsGivenItsLength(t *testing.T) {
	long := strings.Replace(chatAnswer, "hello", strings.Repeat("hello ", maxShort), 1)
	for name, c := range map[string]struct {
		answer string
		length int64
	}{
		"short": {chatAnswer + "\n", int64(len(chatAnswer)) + 1},
		"long":  {long, -1},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				answerJSON(w, http.StatusOK, c.answer)
				_ = http.NewResponseController(w).Flush() // so that it has no length
			})
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
			res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
			if res.ContentLength != c.length {
				t.Errorf("the answer's length is %d, not %d", res.ContentLength, c.length)
			}
			text, err := io.ReadAll(res.Body)
			if err != nil || string(text) != c.answer {
				t.Errorf("%d bytes of %d came (%v)", len(text), len(c.answer), err)
			}
			res.Body.Close()
			if call.Outcome != OutcomeOK || call.Result.Usage.OutputTotal() != 1 {
				t.Errorf("outcome %s, result %+v", call.Outcome, call.Result)
			}
		})
	}
}

// An answer that comes whole, but in parts, is not collected.
func TestFirstPartOfAnAnswerPassesBeforeTheSecondComes(t *testing.T) {
	passed := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		answerJSON(w, http.StatusOK, chatAnswer[:20])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-passed:
			_, _ = io.WriteString(w, chatAnswer[20:])
		case <-r.Context().Done():
		}
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	// The provider waits for us: an answer that is collected would never come.
	res, _ := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
	first := make([]byte, 20)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != chatAnswer[:20] {
		t.Fatalf("the first part is %q (%v)", first, err)
	}
	close(passed)
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != chatAnswer[20:] {
		t.Errorf("the rest is %q (%v)", rest, err)
	}
	res.Body.Close()
}
