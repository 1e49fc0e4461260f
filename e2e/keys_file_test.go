// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Keys from a file are exchanged without a reload, and without a call that
// fails.
func TestKeysFileIsFollowed(t *testing.T) {
	d := newDesk(t)
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("canary-old-1\ncanary-old-2\n")
	g := start(t, head+`http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai `+d.URL+` {
			keys_file {env.KEYS_FILE}
			probe off
		}
	}
}
`, "KEYS_FILE="+path)
	call := func() {
		t.Helper()
		if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != 200 {
			t.Fatalf("got %d %s", status, text)
		}
	}
	await := func(key string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			call()
			if calls, _ := d.used(key); calls > 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not used", key)
			}
		}
	}
	await("canary-old-1")
	await("canary-old-2")
	write("canary-new\n")
	await("canary-new")
	before, _ := d.used("canary-old-1")
	for range 10 {
		call()
	}
	if after, _ := d.used("canary-old-1"); after != before {
		t.Error("a key that is gone is still used")
	}
	write("")
	g.await(t, "the file of keys was not taken; what it said before holds")
	call()
	if strings.Contains(g.Output(), "canary-") {
		t.Error("the log shows a key")
	}
}
