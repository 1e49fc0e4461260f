// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// compressed returns events as a provider sends them that compresses though it was
// asked not to. Without its end the stream is one that broke.
func compressed(end bool, events ...string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	for _, event := range events {
		_, _ = io.WriteString(w, event)
		_ = w.Flush()
	}
	if end {
		_ = w.Close()
	}
	return out.Bytes()
}

func sendZipped(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Encoding", "gzip")
	stream(w, string(body))
}

// A stream that the provider has compressed passes as it is, also where it
// would be taken up again.
func TestEncodedStreamPassesAsItIs(t *testing.T) {
	body := compressed(true, story("first", words)...)
	for _, rescue := range []string{rescueOff, rescueResume} {
		up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { sendZipped(w, body) })
		status, text, call := chat(t, rescuing(t, up, func(tr *Transport) { tr.Rescue = rescue }), chatStreamBody)
		if status != 200 || text != string(body) || call.Outcome != OutcomeOK || call.Result.Finish != "stop" {
			t.Errorf("rescue %s: got %d, %d bytes of %d, outcome %s, finish %q", rescue, status, len(text), len(body), call.Outcome, call.Result.Finish)
		}
	}
}

// A compressed stream may give away what it says only at its end.
func TestFirstTokenOfAnEncodedStreamThatComesAtOnce(t *testing.T) {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, _ = io.WriteString(w, strings.Join(story("first", words), ""))
	_ = w.Close()
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { sendZipped(w, body.Bytes()) })
	_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
	if text != body.String() || call.FirstToken == 0 {
		t.Errorf("got %d bytes of %d, the first token after %v", len(text), body.Len(), call.FirstToken)
	}
}

// Nothing legible can be put behind half a compressed stream: its connection
// breaks.
func TestBrokenEncodedStreamBreaksTheConnection(t *testing.T) {
	body := compressed(false, story("first", words)[:4]...)
	for _, rescue := range []string{rescueOff, rescueResume} {
		up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
			sendZipped(w, body)
			panic(http.ErrAbortHandler)
		})
		tr := rescuing(t, up, func(tr *Transport) { tr.Rescue = rescue })
		res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil || !bytes.Equal(got, body) || call.Outcome != OutcomeBroken {
			t.Errorf("rescue %s: got %d bytes of %d, %v, outcome %s", rescue, len(got), len(body), err, call.Outcome)
		}
	}
}

// What cannot be joined to a stream does not take it up: a compressed one, or
// an answer that comes whole.
func TestRescueByWhatIsNoStreamOfEvents(t *testing.T) {
	for name, second := range map[string]func(w http.ResponseWriter, r *http.Request){
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			sendZipped(w, compressed(true, story("second", words)...))
		},
		"whole": func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) },
	} {
		up := scripted(t, breaks(6), second)
		_, text, call := chat(t, rescuing(t, up, nil), chatStreamBody)
		if !strings.Contains(text, "upstream_broken") || call.Outcome != OutcomeBroken {
			t.Errorf("%s: outcome %s: %s", name, call.Outcome, text)
		}
	}
}
