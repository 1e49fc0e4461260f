// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

// What is known of keys is there after a restart: a key that was refused is not
// asked by a client's call again.
func TestKeysAreRememberedOverARestart(t *testing.T) {
	data := "XDG_DATA_HOME=" + t.TempDir()
	d := newDesk(t, "sk-dead")
	config := head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		provider openai ` + d.URL + ` {
			keys sk-dead sk-good
			probe off
		}
		state persist
	}
}
`
	for round := range 3 {
		g := start(t, config, data)
		for range 10 {
			if status, text := g.do(t, "POST", "/v1/chat/completions", chatBody); status != 200 {
				t.Fatalf("got %d %s", status, text)
			}
		}
		if calls, _ := d.used("sk-dead"); calls != 1 {
			t.Errorf("after start %d the dead key was asked %d times, want once", round+1, calls)
		}
		g.Stop()
	}
}
