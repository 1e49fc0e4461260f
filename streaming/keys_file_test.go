// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// keysFile writes a file of keys, each time with a time of its own.
type keysFile struct {
	path string
	age  time.Duration
}

func newKeysFile(t *testing.T, text string) *keysFile {
	t.Helper()
	f := &keysFile{path: filepath.Join(t.TempDir(), "keys")}
	f.write(t, text)
	return f
}

func (f *keysFile) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.age += time.Second
	when := time.Now().Add(f.age)
	if err := os.Chtimes(f.path, when, when); err != nil {
		t.Fatal(err)
	}
}

// withFile returns a provider with keys from a file. The watch would look at it
// only every two seconds, so tests have p take it themselves.
func withFile(up *upstream, f *keysFile, keys ...string) *Provider {
	p := pool("p", up.URL, keys...)
	p.KeysFile = f.path
	return p
}

// take has p take the file as the watch would.
func (f *keysFile) take(p *Provider) error {
	text, err := os.ReadFile(f.path)
	if err == nil {
		_, err = p.takeKeys(text)
	}
	return err
}

// ids returns the secrets of the keys in use, as the provider sees them.
func usedKeys(t *testing.T, tr *Transport, up *upstream) map[string]bool {
	t.Helper()
	before := len(up.requests())
	for range 8 {
		if status, text, _ := chat(t, tr, chatBody); status != 200 {
			t.Fatalf("got %d %s", status, text)
		}
	}
	used := map[string]bool{}
	for _, s := range up.requests()[before:] {
		used[s.key] = true
	}
	return used
}

func wantKeys(t *testing.T, got map[string]bool, want ...string) {
	t.Helper()
	for _, key := range want {
		if !got[key] {
			t.Errorf("%s is not used", key)
		}
	}
	if len(got) != len(want) {
		t.Errorf("used are %v, want %v", got, want)
	}
}

// Keys come and go with the file; those of the config stay. What is known of a
// key that stays is kept.
func TestKeysFollowTheFile(t *testing.T) {
	name := t.Name()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		if strings.HasPrefix(key, "limited-") {
			w.Header().Set("Retry-After", "60")
			answerJSON(w, 429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
	f := newKeysFile(t, "limited-"+name+"\none-"+name+", two-"+name+"\n")
	p := withFile(up, f, "fixed-"+name)
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	wantKeys(t, usedKeys(t, tr, up), "fixed-"+name, "one-"+name, "two-"+name, "limited-"+name)
	f.write(t, "three-"+name+" limited-"+name)
	if err := f.take(p); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, usedKeys(t, tr, up), "fixed-"+name, "three-"+name)
}

// A file that is broken, or has no key, changes nothing, and the error shows no
// secret.
func TestBrokenKeysFileChangesNothing(t *testing.T) {
	name := t.Name()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	f := newKeysFile(t, "canary-one-"+name)
	p := withFile(up, f, "canary-fixed-"+name)
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	for what, text := range map[string]string{
		"empty":             "",
		"blank":             " \n\t\n",
		"one of the config": "canary-fixed-" + name,
		"one twice":         "canary-two canary-two",
		"half of it":        `{"keys":[{"secret":"canary-two"`,
		"none":              `{"keys":[]}`,
		"null":              `{"keys":[null]}`,
		"no secret":         `{"keys":[{"id":"x"}]}`,
		"lent":              `{"keys":[{"credentials":{"source":"numbered"}}]}`,
		"misspelled":        `{"keys":[{"secret":"canary-two","model":["gpt-4o"]}]}`,
		"senseless":         `{"keys":[{"secret":"canary-two","weight":-1}]}`,
		"a bad date":        `{"keys":[{"secret":"canary-two","expires":"soon"}]}`,
		"an id twice":       `{"keys":[{"secret":"canary-two","id":"x"},{"secret":"canary-three","id":"x"}]}`,
		"more":              `{"keys":[{"secret":"canary-two"}]} {}`,
		"a placeholder":     `{"keys":[{"secret":"{env.NO_SUCH_VARIABLE}"}]}`,
	} {
		f.write(t, text)
		if err := f.take(p); err == nil || strings.Contains(err.Error(), "canary-t") {
			t.Errorf("%s: got %v", what, err)
		}
		wantKeys(t, usedKeys(t, tr, up), "canary-fixed-"+name, "canary-one-"+name)
	}
}

// A file in JSON gives its keys what the config would.
func TestKeysFileInJSON(t *testing.T) {
	t.Setenv("KEY_OF_THE_FILE", "secret-"+t.Name())
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	f := newKeysFile(t, `{"keys":[{"id":"a","secret":"{env.KEY_OF_THE_FILE}","models":["gpt-*"]},{"id":"b","secret":"other-`+t.Name()+`","models":["o1"]}]}`)
	p := withFile(up, f)
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	wantKeys(t, usedKeys(t, tr, up), "secret-"+t.Name())
	if ids := p.pool.Load().Snapshot(); ids[0].ID != "a" || ids[1].ID != "b" {
		t.Errorf("the keys are %v", ids)
	}
}

// A call that uses a key which is taken away goes on, and so does the search of
// one that has not found its key yet.
func TestCallsOutliveTheirKey(t *testing.T) {
	name := t.Name()
	more, asked := make(chan struct{}), make(chan struct{}, 8)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		stream(w, roleChunk, chunk("first"))
		asked <- struct{}{}
		<-more
		stream(w, chunk("last"), finishChunk, doneEvent)
	})
	f := newKeysFile(t, "old-"+name)
	p := withFile(up, f)
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	<-asked
	old := p.pool.Load()
	f.write(t, "new-"+name)
	if err := f.take(p); err != nil {
		t.Fatal(err)
	}
	close(more)
	text, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(text), "last") {
		t.Errorf("got %s, %v", text, err)
	}
	call.Close()
	if status := old.Snapshot()[0]; call.Outcome != OutcomeOK || status.InFlight != 0 || status.Successes != 1 {
		t.Errorf("outcome %s, %+v", call.Outcome, status)
	}
}

// Whatever the file did, nothing is kept of it when the config is over.
func TestStatesOfFileKeysAreGivenBack(t *testing.T) {
	name := t.Name()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	f := newKeysFile(t, "one-"+name+" two-"+name)
	p := withFile(up, f, "fixed-"+name)
	p.Name = name
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	for _, text := range []string{"two-" + name, "two-" + name + " two-" + name, "three-" + name, "one-" + name + " three-" + name} {
		f.write(t, text)
		_ = f.take(p)
	}
	if err := tr.Cleanup(); err != nil {
		t.Error(err)
	}
	keyStates.Range(func(key, _ any) bool {
		if strings.HasPrefix(key.(string), name+"/") {
			t.Errorf("%s is kept", key)
		}
		return true
	})
}

// A config whose file is broken from the beginning is refused.
func TestBrokenKeysFileAtTheStart(t *testing.T) {
	for what, path := range map[string]string{"missing": filepath.Join(t.TempDir(), "none"), "a placeholder": "{env.NO_SUCH_VARIABLE}"} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		defer cancel()
		p := pool("p", "http://127.0.0.1:1", "fixed-"+t.Name())
		p.KeysFile = path
		tr := &Transport{Providers: []*Provider{p}}
		if err := tr.Provision(ctx); err == nil {
			t.Errorf("%s: accepted", what)
		}
		if err := tr.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}
