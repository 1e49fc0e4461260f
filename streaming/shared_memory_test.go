// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What is held back of one answer lies in memory that others use after it. No
// client gets a byte of another's answer, however late it reads.
func TestAnswersShareMemoryButNoBytes(t *testing.T) {
	answerOf := func(i int) string {
		return strings.Replace(chatAnswer, `"model"`, fmt.Sprintf(`"pad":%q,"model"`, strings.Repeat(fmt.Sprint(i), 500)), 1)
	}
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, body string) {
		var i int
		_, _ = fmt.Sscanf(r.Header.Get("X-Number"), "%d", &i)
		if r.Header.Get("X-Stream") == "" {
			answerJSON(w, 200, answerOf(i))
			return
		}
		stream(w, roleChunk, chunk(strings.Repeat(fmt.Sprint(i), 500)), finishChunk, doneEvent)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	for _, streams := range []bool{false, true} {
		var answers []*http.Response
		for i := range 20 {
			header, body := http.Header{"X-Number": {fmt.Sprint(i)}}, chatBody
			if streams {
				header, body = http.Header{"X-Number": {fmt.Sprint(i)}, "X-Stream": {"1"}}, chatStreamBody
			}
			res, call := postHeader(t, context.Background(), tr, "/v1/chat/completions", header, body)
			defer call.Close()
			if i%2 == 1 { // it comes to its end before those that began earlier
				check(t, i, streams, res, answerOf)
				continue
			}
			// The first part of it is read now, and the rest last.
			first := make([]byte, 10)
			if _, err := io.ReadFull(res.Body, first); err != nil {
				t.Fatal(err)
			}
			res.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(first), res.Body), res.Body}
			answers = append(answers, res)
		}
		for i, res := range answers {
			check(t, 2*i, streams, res, answerOf)
		}
	}
}

func check(t *testing.T, i int, streams bool, res *http.Response, answerOf func(int) string) {
	t.Helper()
	defer res.Body.Close()
	want := answerOf(i)
	if streams {
		want = roleChunk + chunk(strings.Repeat(fmt.Sprint(i), 500)) + finishChunk + doneEvent
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != want {
		t.Errorf("answer %d, a stream %t: got %q, %v", i, streams, got, err)
	}
}
