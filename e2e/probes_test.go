// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// desk is a provider that accepts some keys, and counts what each was used for.
type desk struct {
	*httptest.Server
	mu           sync.Mutex
	dead         map[string]bool
	calls, lists map[string]int
	// answers are what it says to calls with a key, where that is something
	// special.
	answers map[string]func(http.ResponseWriter)
}

func newDesk(t *testing.T, dead ...string) *desk {
	t.Helper()
	d := &desk{dead: map[string]bool{}, calls: map[string]int{}, lists: map[string]int{}, answers: map[string]func(http.ResponseWriter){}}
	for _, key := range dead {
		d.dead[key] = true
	}
	d.Server = httptest.NewServer(http.HandlerFunc(d.answer))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) answer(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Method == http.MethodGet {
		d.lists[key]++
	} else {
		d.calls[key]++
	}
	w.Header().Set("Content-Type", "application/json")
	if d.dead[key] {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`)
		return
	}
	if say := d.answers[key]; say != nil {
		say(w)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/responses") {
		fmt.Fprintf(w, `{"id":"resp_%d_%s","object":"response","status":"completed","model":"gpt-4o","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hello"}]}]}`, d.calls[key], key)
		return
	}
	fmt.Fprint(w, `{"id":"c1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`)
}

func (d *desk) revive(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.dead, key)
}

// says has calls with a key answered with a status; 200 is well again.
func (d *desk) says(key string, status int, headers map[string]string, body string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.answers, key)
	if status == http.StatusOK {
		return
	}
	d.answers[key] = func(w http.ResponseWriter) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// used returns how many calls and lists were asked for with a key.
func (d *desk) used(key string) (calls, lists int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[key], d.lists[key]
}

// Of ten keys nine are dead: every call is answered, and the dead are asked
// only as probes. One that works again is used again soon.
func TestNineOfTenKeysAreDead(t *testing.T) {
	var keys, dead []string
	for i := range 10 {
		keys = append(keys, fmt.Sprintf("sk-%d", i))
	}
	dead = append(append(dead, keys[:6]...), keys[7:]...)
	d := newDesk(t, dead...)
	g := start(t, head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai `+d.URL+` {
			keys `+strings.Join(keys, " ")+`
		}
		probe 1s
	}
}
`)
	await := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 30 seconds: %s", what)
			}
		}
	}
	// The dead are found out, and asked again.
	await("probes of all keys", func() bool {
		for _, key := range dead {
			if _, lists := d.used(key); lists < 2 {
				return false
			}
		}
		return true
	})
	for range 100 {
		if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != 200 {
			t.Fatalf("got %d %s", status, text)
		}
	}
	for _, key := range dead {
		if calls, _ := d.used(key); calls > 0 {
			t.Errorf("the dead key %s was asked by %d calls", key, calls)
		}
	}
	if n := strings.Count(g.Output(), "a key is out of use"); n != len(dead) {
		t.Errorf("the log says %d times that a key is refused, want %d", n, len(dead))
	}
	d.revive(dead[0])
	await("a call with the key that works again", func() bool {
		g.do(t, "POST", "/v1/chat/completions", chatBody)
		calls, _ := d.used(dead[0])
		return calls > 0
	})
}
