// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// reloaded is a config of which the parts in capitals change with each reload.
const reloaded = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		max_request_body SIZE
		provider main UPSTREAM {
			key sk-limited
			keys KEYS
			transport http {
				keepalive 1s
			}
		}
		MORE
		model * main
	}
}
`

// slowUpstream tells each stream its own story, word by word, and has one key
// that is limited for long. It counts how often that was asked to tell one. No
// story ends before the test has seen enough.
type slowUpstream struct {
	*httptest.Server
	limited atomic.Int64
	enough  chan struct{}
}

const slowWords = 40

// hasty is a user to whom all is told at once.
const hasty = "hasty"

// slowStory is what the stream for a user consists of.
func slowStory(user string) (events []string) {
	for i := range slowWords {
		events = append(events, fmt.Sprintf(`data: {"model":"gpt-4o","choices":[{"index":0,"delta":{"content":"%s %d"},"finish_reason":null}]}`+"\n\n", user, i))
	}
	return append(events, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n", "data: [DONE]\n\n")
}

var userIn = regexp.MustCompile(`"user":"([^"]*)"`)

func newSlowUpstream(t *testing.T, pause time.Duration) *slowUpstream {
	t.Helper()
	u := &slowUpstream{enough: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Authorization"), "sk-limited") {
			if r.Method == http.MethodPost { // and not only looked after
				u.limited.Add(1)
			}
			w.Header().Set("Retry-After", "600")
			http.Error(w, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`, http.StatusTooManyRequests)
			return
		}
		body, _ := io.ReadAll(r.Body)
		found := userIn.FindStringSubmatch(string(body))
		if found == nil {
			http.NotFound(w, r) // somebody looks after the limited key
			return
		}
		user := found[1]
		w.Header().Set("Content-Type", "text/event-stream")
		for i, event := range slowStory(user) {
			if i == slowWords && user != hasty {
				select {
				case <-u.enough:
				case <-r.Context().Done():
				}
			}
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			if user != hasty {
				time.Sleep(pause)
			}
		}
	}))
	t.Cleanup(u.Close)
	return u
}

// Two hundred streams go on to their end while the config is loaded anew every
// second, eight times at least, with keys and providers coming and going; calls that come meanwhile
// are served, and no cool-down is forgotten.
func TestReloadUnderLoad(t *testing.T) {
	up := newSlowUpstream(t, 200*time.Millisecond)
	config := func(n int) string {
		keys := []string{"sk-a", "sk-a sk-b", "sk-b", "sk-b sk-c sk-d"}[n%4]
		more := []string{"", "provider other " + up.URL + " {\n key sk-other\n }", "provider anthropic {\n key sk-ant\n }"}[n%3]
		return strings.NewReplacer("UPSTREAM", up.URL, "SIZE", fmt.Sprintf("%dMiB", 10+n), "KEYS", keys, "MORE", more).Replace(reloaded)
	}
	g := start(t, config(0))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	call := func(user string) {
		body := strings.Replace(chatStreamBody, "{", `{"user":"`+user+`",`, 1)
		res, err := insist(client, func() *http.Request { return g.newRequest(t, "POST", "/v1/chat/completions", body) })
		if err != nil {
			t.Errorf("%s: %v", user, err)
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if want := strings.Join(slowStory(user), ""); err != nil || string(text) != want {
			t.Errorf("%s: %d, %d bytes of %d, %v", user, res.StatusCode, len(text), len(want), err)
		}
	}
	call(hasty) // which meets the limited key, so that the others need not
	before := g.settled(t, footprint{}, 2*time.Second)

	var streams sync.WaitGroup
	for n := range 200 {
		streams.Go(func() {
			time.Sleep(time.Duration(n) * 10 * time.Millisecond) // some begin between reloads
			call(fmt.Sprintf("stream-%d", n))
		})
	}
	over := make(chan struct{})
	go func() {
		streams.Wait()
		close(over)
	}()
	reloads := 0
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
			reloads++
			g.reload(t, config(reloads))
			if reloads == 8 {
				close(up.enough)
			}
			continue
		case <-over:
			tick.Stop()
		}
		break
	}
	t.Logf("%d reloads", reloads)
	if n := up.limited.Load(); n != 1 {
		t.Errorf("the limited key was asked %d times", n)
	}
	after := g.settled(t, footprint{before.goroutines + 10, before.files + 5}, time.Minute)
	if after.goroutines > before.goroutines+10 || after.files > before.files+5 {
		_, profile := g.send(t, "GET", "/debug/pprof/goroutine?debug=1", "", "")
		t.Errorf("before %v, after %v\n%.6000s", before, after, profile)
	}
}
