// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// vault is a provider that stores responses and files, each of which only the
// key that made it can find.
type vault struct {
	*upstream
	mu     sync.Mutex
	owners map[string]string
	// limited are the keys that have used up their rate.
	limited map[string]bool
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{owners: map[string]string{}, limited: map[string]bool{}}
	v.upstream = newUpstream(t, func(w http.ResponseWriter, r *http.Request, key string) {
		seen := v.requests()
		v.answer(w, r, key, seen[len(seen)-1].body)
	})
	return v
}

func (v *vault) answer(w http.ResponseWriter, r *http.Request, key, body string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	wanted := ""
	if _, id, ok := strings.Cut(body, `"previous_response_id":"`); ok {
		wanted, _, _ = strings.Cut(id, `"`)
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/v1/responses/"); ok {
		wanted = id
	}
	switch {
	case v.limited[key]:
		w.Header().Set("Retry-After", "40")
		answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
		return
	case wanted != "" && v.owners[wanted] != key:
		answerJSON(w, 404, `{"error":{"message":"Response with id '`+wanted+`' not found.","type":"invalid_request_error"}}`)
		return
	}
	id := fmt.Sprintf("resp_%d_%s", len(v.owners), strings.ReplaceAll(strings.TrimPrefix(v.URL, "http://"), ":", "-"))
	v.owners[id] = key
	response := `{"id":"` + id + `","object":"response","model":"gpt-4o","status":"STATUS","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`
	if !strings.Contains(body, `"stream":true`) {
		answerJSON(w, 200, strings.Replace(response, "STATUS", "completed", 1))
		return
	}
	stream(w,
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":"+strings.Replace(response, "STATUS", "in_progress", 1)+"}\n\n",
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":"+strings.Replace(response, "STATUS", "completed", 1)+"}\n\n")
}

// idIn returns the id that an answer gives itself.
func idIn(t *testing.T, answer string) string {
	t.Helper()
	_, rest, found := strings.Cut(answer, `"id":"`)
	if !found {
		t.Fatalf("no id in %s", answer)
	}
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// respond makes a response that follows on another one, unless that is "".
func respond(t *testing.T, tr *Transport, previous, more string) (int, string, *Call) {
	t.Helper()
	body := `{"model":"gpt-4o","input":"hi"` + more + `}`
	if previous != "" {
		body = `{"model":"gpt-4o","input":"hi","previous_response_id":"` + previous + `"` + more + `}`
	}
	res, call := post(t, context.Background(), tr, "/v1/responses", body)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), call
}

// get asks for something that is stored.
func get(t *testing.T, tr *Transport, path string) (int, string, *Call) {
	t.Helper()
	request, err := wire.Recognize(http.MethodGet, &url.URL{Path: path}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	call := &Call{ID: "test-request", Request: request, Started: time.Now()}
	res, err := tr.RoundTrip(httptest.NewRequestWithContext(WithCall(t.Context(), call), http.MethodGet, "http://gateway"+path, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text), call
}

// keysOf are names of keys that no other test has.
func keysOf(t *testing.T, n int) []string {
	t.Helper()
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("key%d-%s", i, t.Name()))
	}
	return keys
}

// Conversations go on with the key that they began with, streamed or not.
func TestStoredResponsesStayWithTheirKey(t *testing.T) {
	for name, more := range map[string]string{"whole": ``, "streamed": `,"stream":true`} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t)
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keysOf(t, 5)...)}, Retry: quick})
			began := map[string]bool{}
			for range 5 {
				status, text, call := respond(t, tr, "", more)
				began[call.KeyID] = true
				for turn := range 4 {
					if status != 200 {
						t.Fatalf("turn %d: got %d %s", turn, status, text)
					}
					status, text, _ = respond(t, tr, idIn(t, text), more)
				}
				if status, text, _ = get(t, tr, "/v1/responses/"+idIn(t, text)); status != 200 {
					t.Errorf("asking for it: got %d %s", status, text)
				}
			}
			if len(began) != 5 {
				t.Errorf("conversations began with %d keys, want all five", len(began))
			}
		})
	}
}

// An id is known as soon as the client can read it.
func TestStoredResponseIsKnownBeforeItsStreamEnds(t *testing.T) {
	v := newVault(t)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keysOf(t, 3)...)}, Retry: quick})
	for range 3 {
		res, _ := post(t, context.Background(), tr, "/v1/responses", `{"model":"gpt-4o","stream":true,"input":"hi"}`)
		first := make([]byte, 200)
		if _, err := io.ReadFull(res.Body, first); err != nil {
			t.Fatal(err)
		}
		if status, text, _ := get(t, tr, "/v1/responses/"+idIn(t, string(first))); status != 200 {
			t.Errorf("got %d %s", status, text)
		}
	}
}

// Where the key rests that made it, no other is asked.
func TestNoOtherKeyIsAskedForWhatOneHasStored(t *testing.T) {
	v := newVault(t)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keysOf(t, 3)...)}, Retry: quick})
	_, text, first := respond(t, tr, "", "")
	id := idIn(t, text)
	v.mu.Lock()
	v.limited[first.KeyID] = true
	v.mu.Unlock()
	before := len(v.requests())
	for i := range 3 {
		res, call := post(t, context.Background(), tr, "/v1/responses", `{"model":"gpt-4o","previous_response_id":"`+id+`"}`)
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "40" || call.KeyID != first.KeyID && i == 0 {
			t.Errorf("call %d: got %d by %s, Retry-After %q: %s", i, res.StatusCode, call.KeyID, res.Header.Get("Retry-After"), text)
		}
		if i > 0 && !strings.Contains(string(text), "can find what the request refers to") {
			t.Errorf("call %d: %s", i, text)
		}
	}
	if n := len(v.requests()) - before; n != 1 {
		t.Errorf("the provider was asked %d times, want once", n)
	}
	if status, _, _ := respond(t, tr, "", ""); status != 200 {
		t.Errorf("another conversation: got %d", status)
	}
}

// What nobody is known to have made is asked of one key, each time the same,
// and the provider's answer is passed on.
func TestUnknownObjectGoesToOneKey(t *testing.T) {
	v := newVault(t)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keysOf(t, 5)...)}, Retry: quick})
	for _, id := range []string{"resp_a", "resp_b", "resp_c", "resp_d"} {
		asked := map[string]bool{}
		for range 4 {
			status, text, call := respond(t, tr, id, "")
			if status != 404 || !strings.Contains(text, "not found") || len(call.Attempts) != 1 {
				t.Errorf("got %d %s after %d attempts", status, text, len(call.Attempts))
			}
			asked[call.KeyID] = true
		}
		if len(asked) != 1 {
			t.Errorf("%s was asked of %d keys", id, len(asked))
		}
	}
	if n := tr.Providers[0].stored.Len(); n != 0 {
		t.Errorf("%d objects are remembered that nobody has found", n)
	}
}

// What is found with the key it was asked of stays there when keys come.
func TestFoundObjectStaysWithItsKey(t *testing.T) {
	v := newVault(t)
	keys := keysOf(t, 8)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keys[0])}, Retry: quick})
	v.mu.Lock()
	v.owners["resp_old"] = keys[0]
	v.mu.Unlock()
	if status, text, _ := get(t, tr, "/v1/responses/resp_old"); status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	more := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keys...)}, Retry: quick})
	if status, text, _ := get(t, more, "/v1/responses/resp_old"); status != 200 {
		t.Errorf("with more keys: got %d %s", status, text)
	}
}

// What the second provider of a family has stored is found there, also by a
// request that names no model.
func TestStoredResponseIsFoundAtItsProvider(t *testing.T) {
	first, second := newVault(t), newVault(t)
	keys := keysOf(t, 4)
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("first", first.URL, keys[:2]...), pool("second", second.URL, keys[2:]...)},
		Models: []*ModelRoute{
			{Match: "gpt-4o", Targets: []Target{{Provider: "first"}, {Provider: "second"}}},
			{Match: "o1", Targets: []Target{{Provider: "second"}}},
		},
		Retry: quick,
	})
	res, _ := post(t, context.Background(), tr, "/v1/responses", `{"model":"o1","input":"hi"}`)
	text, _ := io.ReadAll(res.Body)
	id := idIn(t, string(text))
	if status, text, call := get(t, tr, "/v1/responses/"+id); status != 200 || call.Provider != "second" {
		t.Errorf("got %d from %s: %s", status, call.Provider, text)
	}
	if status, text, call := respond(t, tr, id, ""); status != 200 || call.Provider != "second" {
		t.Errorf("went on: got %d from %s: %s", status, call.Provider, text)
	}
	if status, _, call := get(t, tr, "/v1/responses/resp_unknown"); status != 404 || call.Provider != "first" {
		t.Errorf("an unknown one: got %d from %s", status, call.Provider)
	}
}

// A reload forgets no owner, and an owner that is gone is none.
func TestReloadKeepsOwners(t *testing.T) {
	v := newVault(t)
	keys := keysOf(t, 4)
	config := func(keys []string) *Transport {
		return &Transport{Providers: []*Provider{pool("p", v.URL, keys...)}, Retry: quick}
	}
	old := provision(t, config(keys))
	var ids []string
	for range 8 {
		_, text, _ := respond(t, old, "", "")
		ids = append(ids, idIn(t, text))
	}
	fresh := provision(t, config(keys))
	if err := old.Cleanup(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if status, text, _ := respond(t, fresh, id, ""); status != 200 {
			t.Errorf("%s: got %d %s", id, status, text)
		}
	}
	without := provision(t, config(keys[1:]))
	for _, id := range ids {
		if status, _, call := respond(t, without, id, ""); status != 200 && status != 404 || call.KeyID == keys[0] {
			t.Errorf("%s without its key: got %d by %s", id, status, call.KeyID)
		}
	}
}

// A response that is not to be stored is not remembered.
func TestUnstoredResponsesTakeNoMemory(t *testing.T) {
	v := newVault(t)
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", v.URL, keysOf(t, 2)...)}, Retry: quick})
	for range 4 {
		respond(t, tr, "", `,"store":false`)
	}
	if n := tr.Providers[0].stored.Len(); n != 0 {
		t.Errorf("%d are remembered", n)
	}
}
