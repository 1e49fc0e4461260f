// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

// patient is a client that waits as long as it likes: time passes by itself.
const patient = 1000 * time.Hour

// timed notes when the headers and the pieces of an answer come.
type timed struct {
	*httptest.ResponseRecorder
	start   time.Time
	headers time.Duration
	// chunks are the times of the first three chunks of text.
	chunks []time.Duration
	// ended is when the handler came back, aborted whether by panic.
	ended   time.Duration
	aborted bool
}

func (w *timed) WriteHeader(status int) {
	w.headers = time.Since(w.start)
	w.ResponseRecorder.WriteHeader(status)
}

func (w *timed) Write(p []byte) (int, error) {
	words := []string{`"the "`, `"quick "`, `"brown "`}
	if n := len(w.chunks); n < len(words) && strings.Contains(string(p), words[n]) {
		w.chunks = append(w.chunks, time.Since(w.start))
	}
	return w.ResponseRecorder.Write(p)
}

func (w *timed) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// watch asks a simulator in a bubble where time is made up. The client leaves
// after patience.
func watch(t *testing.T, opts simulator.Options, e endpoint, patience time.Duration) *timed {
	t.Helper()
	w := &timed{ResponseRecorder: httptest.NewRecorder(), headers: -1}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r := httptest.NewRequest(http.MethodPost, e.path, strings.NewReader(e.body)).WithContext(ctx)
		w.start = time.Now()
		defer func() {
			w.ended = time.Since(w.start)
			if v := recover(); v != nil {
				w.aborted = v == any(http.ErrAbortHandler)
			}
		}()
		simulator.New(opts).ServeHTTP(w, r)
	})
	return w
}

// times are the chunks' times in seconds.
func times(seconds ...int) []time.Duration {
	list := make([]time.Duration, len(seconds))
	for i, s := range seconds {
		list[i] = time.Duration(s) * time.Second
	}
	return list
}

func TestTheFirstTokenWaitsAndTheOthersFollowAtTheirPace(t *testing.T) {
	opts := simulator.Options{Chunks: 3, FirstToken: 5 * time.Second, Delay: 2 * time.Second}
	slow := opts
	slow.Fault = fault(t, "slow 60s")
	rule := opts
	rule.Rules = []simulator.Rule{{Match: "m-*", FirstToken: time.Second, Delay: 3 * time.Second}}
	for _, test := range []struct {
		name string
		opts simulator.Options
		want []time.Duration
	}{
		{"as set", opts, times(5, 7, 9)},
		{"slow", slow, times(60, 62, 64)},
		{"by a rule", rule, times(1, 4, 7)},
	} {
		for _, e := range streamed {
			w := watch(t, test.opts, e, patient)
			// The headers do not wait for what is generated.
			if w.headers != 0 || !slices.Equal(w.chunks, test.want) {
				t.Errorf("%s: %s: headers at %v, chunks at %v", test.name, e.name, w.headers, w.chunks)
			}
		}
	}
}

func TestAnAnswerThatComesWholeWaitsForItsFirstToken(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 5 * time.Second, "slow 60s": time.Minute} {
		opts := simulator.Options{FirstToken: 5 * time.Second, Delay: time.Hour}
		if text != "" {
			opts.Fault = fault(t, text)
		}
		for _, e := range whole {
			if w := watch(t, opts, e, patient); w.headers != want || w.ended != want || w.Code != 200 {
				t.Errorf("%q: %s: headers at %v, end at %v", text, e.name, w.headers, w.ended)
			}
		}
	}
}

func TestSilenceSendsNoHeadersUntilTheClientGoes(t *testing.T) {
	for _, e := range append(streamed, whole...) {
		w := watch(t, simulator.Options{Fault: fault(t, "silence")}, e, 30*time.Second)
		if w.headers != -1 || w.Body.Len() > 0 || w.ended != 30*time.Second || !w.aborted {
			t.Errorf("%s: headers at %v, end at %v, aborted %v", e.name, w.headers, w.ended, w.aborted)
		}
	}
}

func TestSilenceOfADurationEndsInAReset(t *testing.T) {
	w := watch(t, simulator.Options{Fault: fault(t, "silence 20s")}, streamed[0], patient)
	if w.headers != -1 || w.ended != 20*time.Second || !w.aborted {
		t.Errorf("headers at %v, end at %v, aborted %v", w.headers, w.ended, w.aborted)
	}
}

func TestAStallLastsUntilTheClientGoes(t *testing.T) {
	for _, e := range streamed {
		w := watch(t, simulator.Options{Chunks: 4, Fault: fault(t, "stall 2")}, e, 30*time.Second)
		got := reply{body: w.Body.String()}
		if texts := got.texts(t, e); len(texts) != 2 || w.ended != 30*time.Second {
			t.Errorf("%s: texts %q, end at %v", e.name, texts, w.ended)
		}
	}
	for _, e := range whole {
		w := watch(t, simulator.Options{Fault: fault(t, "stall 2")}, e, 30*time.Second)
		if w.headers != 0 || w.ended != 30*time.Second || json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: headers at %v, end at %v, %s", e.name, w.headers, w.ended, w.Body)
		}
	}
}

func TestAStallOfADurationHappensOnceAndThenAllGoesOn(t *testing.T) {
	for _, text := range []string{"stall 2 20s", "stall 99 20s"} {
		for _, e := range append(streamed, whole...) {
			good := watch(t, simulator.Options{Chunks: 4}, e, patient)
			w := watch(t, simulator.Options{Chunks: 4, Fault: fault(t, text)}, e, patient)
			if w.ended != 20*time.Second || w.aborted || w.Body.String() != good.Body.String() {
				t.Errorf("%s: %s: end at %v, aborted %v, %s", text, e.name, w.ended, w.aborted, w.Body)
			}
		}
	}
}

func TestAClientThatLeavesEndsTheStream(t *testing.T) {
	for _, e := range streamed {
		w := watch(t, simulator.Options{Chunks: 1000, Delay: time.Second}, e, 2500*time.Millisecond)
		got := reply{body: w.Body.String()}
		if texts := got.texts(t, e); len(texts) != 3 || w.ended != 2500*time.Millisecond {
			t.Errorf("%s: %d chunks, end at %v", e.name, len(texts), w.ended)
		}
	}
}
