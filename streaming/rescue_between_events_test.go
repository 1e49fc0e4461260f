// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Comments keep a connection alive: they do not wait for the event behind them.
func TestRescueHoldsNoCommentBack(t *testing.T) {
	next := make(chan struct{})
	first := strings.Join(story("first", words)[:3], "")
	up := tellsAll(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		for _, text := range []string{first, ": ping\n\n", ": ping\r\n", "\r\n", "id: 7\n", strings.Join(story("first", words)[3:], "")} {
			stream(w, text)
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	})
	res, call := post(t, context.Background(), rescuing(t, up, nil), "/v1/chat/completions", chatStreamBody)
	for _, text := range []string{first, ": ping\n\n", ": ping\r\n", "\r\n", "id: 7\n"} {
		got := make([]byte, len(text))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
		next <- struct{}{}
	}
	close(next)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
	res.Body.Close()
	if call.Outcome != OutcomeOK {
		t.Errorf("outcome %s", call.Outcome)
	}
}

// A line that is no field may be an error, and is held back like one.
func TestRescueHoldsAnErrorThatIsNoEventBack(t *testing.T) {
	for _, failure := range []string{`error: {"message":"overloaded","type":"server_error"}` + "\n", `{"error":{"message":"overloaded","code":503}}` + "\n"} {
		up := tellsAll(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			stream(w, append(story("first", words)[:4], failure)...)
		})
		_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
		if spoken(text) != strings.Join(words, " ")+" " || strings.Contains(text, "overloaded") || call.Outcome != OutcomeOK {
			t.Errorf("outcome %s: %s", call.Outcome, text)
		}
	}
}
