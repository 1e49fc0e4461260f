// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lender is an issuer of tokens and a provider that takes the latest of them.
type lender struct {
	issuer, provider *httptest.Server
	// asked counts the tokens that were asked for; away says that the issuer
	// fails, and lifetime how long its tokens are good, in seconds.
	asked, lifetime atomic.Int32
	away            atomic.Bool
	// revoked is how many tokens are good no more.
	revoked atomic.Int32
}

func newLender(t *testing.T) *lender {
	t.Helper()
	l := new(lender)
	l.lifetime.Store(3600)
	l.issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := l.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, secret, _ := r.BasicAuth()
		switch {
		case l.away.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "no "+secret)
		case secret != "canary-secret":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
		default:
			fmt.Fprintf(w, `{"access_token":"canary-token-%d","token_type":"bearer","expires_in":%d}`, n, l.lifetime.Load())
		}
	}))
	l.provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int32
		_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer canary-token-%d", &n)
		w.Header().Set("Content-Type", "application/json")
		if n <= l.revoked.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"message":"%s is not valid","code":"invalid_token"}}`, r.Header.Get("Authorization"))
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}))
	t.Cleanup(l.issuer.Close)
	t.Cleanup(l.provider.Close)
	return l
}

const lent = `{
	admin localhost:ADMIN
	persist_config off
	skip_install_trust
	debug
}
http://127.0.0.1:GATEWAY {
	log
	llm_proxy {
		client app {env.APP_SECRET}
		provider openai PROVIDER/v1 {
			key {
				id lent
				credentials oauth2 {
					token_url ISSUER/token
					client_id gateway
					client_secret {env.LENT_SECRET}
				}
			}
		}
		retry {
			wait_for_key 10s
		}
	}
}
`

// hundred makes a hundred calls at once, all of which should be served.
func (g *gateway) hundred(t *testing.T, when string) {
	t.Helper()
	var wg sync.WaitGroup
	var failed atomic.Int32
	for range 100 {
		wg.Go(func() {
			if status, _ := g.do(t, "POST", "/v1/chat/completions", chatBody); status != http.StatusOK {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%s: %d calls failed", when, n)
	}
}

// A token is asked for once, however many calls need it: at first, when the
// provider takes it no more, and when it has expired. A reload asks for none,
// an issuer that is away costs the key nothing, and no secret shows anywhere.
func TestLentCredentials(t *testing.T) {
	l := newLender(t)
	config := strings.NewReplacer("PROVIDER", l.provider.URL, "ISSUER", l.issuer.URL).Replace(lent)
	g := start(t, config, "APP_SECRET="+clientKey, "LENT_SECRET=canary-secret")
	if n := l.asked.Load(); n != 0 {
		t.Errorf("%d tokens were asked for before any call", n)
	}
	g.hundred(t, "at first")
	g.reload(t, strings.Replace(config, "client app", "max_request_body 1MiB\n\t\tclient app", 1))
	g.hundred(t, "after a reload")
	if n := l.asked.Load(); n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}

	l.lifetime.Store(1)
	l.revoked.Store(1)
	g.hundred(t, "with a token that is taken no more")
	if n := l.asked.Load(); n != 2 {
		t.Errorf("%d tokens were asked for, want 2", n)
	}

	l.away.Store(true)
	time.Sleep(time.Second) // the token's lifetime
	time.AfterFunc(2*time.Second, func() { l.lifetime.Store(3600); l.away.Store(false) })
	g.hundred(t, "while the issuer is away for two seconds")
	if n := l.asked.Load(); n > 10 {
		t.Errorf("%d tokens were asked for", n)
	}
	if key := g.poolKeys(t)["openai/lent"]; key.State != "closed" || key.Attempts != 400 || key.Successes != 400 {
		t.Errorf("the key's health: %+v", key)
	}

	log := g.Output()
	for line, times := range map[string]int{
		"obtaining credentials fails":      1,
		"credentials are obtained again":   1,
		`"class":"stale"`:                  -1,
		"oauth2: cannot fetch token: 503 ": -1,
	} {
		if n := strings.Count(log, line); n != times && times >= 0 || n == 0 {
			t.Errorf("the log says %q %d times", line, n)
		}
	}
	_, loaded := g.send(t, "GET", "/config/", "", "")
	_, pools := g.send(t, "GET", "/llm/pools", "", "")
	for where, text := range map[string]string{"log": log, "config": loaded, "pools": pools} {
		if at := strings.Index(text, "canary"); at >= 0 {
			t.Errorf("a secret shows in the %s: …%s", where, text[max(0, at-200):at+20])
		}
	}
}

// A client that the issuer does not know is told of at the first call; the
// client of ours hears only that there is no key.
func TestLentCredentialsThatAreRefused(t *testing.T) {
	l := newLender(t)
	config := strings.NewReplacer("PROVIDER", l.provider.URL, "ISSUER", l.issuer.URL, "10s", "off").Replace(lent)
	g := start(t, config, "APP_SECRET="+clientKey, "LENT_SECRET=canary-wrong")
	req := g.newRequest(t, "POST", "/v1/chat/completions", chatBody)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	status, text := readAll(t, res)
	if status != http.StatusServiceUnavailable || !strings.Contains(text, `"no_provider_key"`) || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", status, text)
	}
	g.await(t, `obtaining credentials fails`)
	if log := g.Output(); !strings.Contains(log, "invalid_client") || strings.Contains(log, "canary") {
		t.Errorf("the log says\n%s", log)
	}
}
