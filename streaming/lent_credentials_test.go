// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func init() { caddy.RegisterModule(numbered{}) }

// numbered is a guest module whose tokens are numbered by the issuer of that
// name.
type numbered struct {
	Name string `json:"name"`
}

func (numbered) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "llm.credentials.numbered", New: func() caddy.Module { return new(numbered) }}
}

func (n *numbered) Identity() string { return n.Name }

func (n *numbered) Obtain(ctx context.Context, _ *credentials.Grant) (*credentials.Grant, error) {
	found, _ := issuers.Load(n.Name)
	return found.(*issuer).obtain(ctx)
}

// issuers are those of the tests, by name.
var issuers sync.Map

type issuer struct {
	asked  atomic.Int32
	down   atomic.Bool
	silent bool
	// same says that each token is like the first.
	same bool
	sign func(req *http.Request, body []byte) error
}

func (i *issuer) obtain(ctx context.Context) (*credentials.Grant, error) {
	n := i.asked.Add(1)
	if i.silent {
		<-ctx.Done()
	}
	if i.down.Load() {
		return nil, errors.New("connection refused")
	}
	if i.same {
		n = 1
	}
	return &credentials.Grant{Secret: keypool.NewSecret(fmt.Sprintf("canary-token-%d", n)), Expires: time.Now().Add(time.Hour), Sign: i.sign}, nil
}

// lentKey returns a key whose tokens come from an issuer.
func lentKey(t *testing.T, name string, from *issuer) *Key {
	t.Helper()
	name += "-" + t.Name()
	issuers.Store(name, from)
	config, _ := json.Marshal(map[string]string{"source": "numbered", "name": name})
	return &Key{ID: name, CredentialsRaw: config}
}

// onlyToken answers those that come with that token, and rejects others.
func onlyToken(t *testing.T, good *atomic.Int32, refusal string) *upstream {
	t.Helper()
	return newUpstream(t, func(w http.ResponseWriter, _ *http.Request, token string) {
		if token != "canary-token-"+strconv.Itoa(int(good.Load())) {
			answerJSON(w, 401, refusal)
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
}

const (
	plain401   = `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`
	expired401 = `{"error":{"message":"OAuth token has expired","type":"authentication_error"}}`
)

// A token that the provider refuses is obtained anew, and the same key is asked
// again. That costs the key nothing, however many calls meet it at once.
func TestRefusedTokenCostsTheKeyNothing(t *testing.T) {
	for name, refusal := range map[string]string{"expired": expired401, "invalid": plain401} {
		t.Run(name, func(t *testing.T) {
			var good atomic.Int32
			good.Store(1)
			up, from := onlyToken(t, &good, refusal), new(issuer)
			p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "only", from)}}
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
			if status, text, _ := chat(t, tr, chatBody); status != 200 {
				t.Fatalf("got %d %s", status, text)
			}

			good.Store(2)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					status, _, call := chat(t, tr, chatBody)
					last := call.Attempts[len(call.Attempts)-1]
					if status != 200 || last.Verdict.Class != keypool.ClassOK || len(call.Attempts) > 2 {
						t.Errorf("got %d after %+v", status, call.Attempts)
					}
					if len(call.Attempts) == 2 && call.Attempts[0].Verdict.Class != keypool.ClassStale {
						t.Errorf("the first attempt is noted as %s", call.Attempts[0].Verdict.Class)
					}
				})
			}
			wg.Wait()
			if n := from.asked.Load(); n != 2 {
				t.Errorf("asked for %d tokens", n)
			}
			status := p.pool.Load().Snapshot()[0]
			if status.Total != 101 || status.Successes != 101 || status.State != "closed" || !status.LastError.IsZero() || status.InFlight != 0 {
				t.Errorf("the key's health is %+v", status)
			}
		})
	}
}

// A token that is refused though it is new is the key's failure, as is one that
// cannot be exchanged for another.
func TestNewTokenThatIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		from            *issuer
		requests, asked int
	}{
		"always another": {new(issuer), 2, 2},
		"always same":    {&issuer{same: true}, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 401, expired401) })
			p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "only", test.from)}}
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
			status, text, _ := chat(t, tr, chatBody)
			if status != 503 || strings.Contains(text, "expired") {
				t.Errorf("got %d %s", status, text)
			}
			chat(t, tr, chatBody)
			if n := len(up.requests()); n != test.requests || int(test.from.asked.Load()) != test.asked {
				t.Errorf("%d requests, %d tokens", n, test.from.asked.Load())
			}
			if status := p.pool.Load().Snapshot()[0]; status.CoolingClass != keypool.ClassCredential || status.Total != 1 {
				t.Errorf("the key's health is %+v", status)
			}
		})
	}
}

// As long as no token can be had the key is passed over. It is said once, and
// the key's health knows nothing of it.
func TestIssuerThatIsAway(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	from := new(issuer)
	from.down.Store(true)
	lent := lentKey(t, "lent", from)
	p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lent, {ID: "own", Secret: "own-" + t.Name()}}}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	for range 10 {
		if status, _, call := chat(t, tr, chatBody); status != 200 || call.KeyID != "own" || len(call.Attempts) != 1 {
			t.Errorf("got %d by %s after %+v", status, call.KeyID, call.Attempts)
		}
	}
	if n := from.asked.Load(); n != 1 {
		t.Errorf("asked for %d tokens", n)
	}
	status := p.pool.Load().Snapshot()[0]
	if status.CoolingClass != keypool.ClassStale || status.Total != 0 || status.ConsecutiveFailures != 0 {
		t.Errorf("the key's health is %+v", status)
	}
}

// When no key has a token the client is told when to come again, and a call
// that may wait is served as soon as the issuer is back.
func TestOnlyIssuerIsAwayAndBack(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	from := new(issuer)
	from.down.Store(true)
	impatient := quick
	impatient.WaitForKey = -1
	p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "lent", from)}}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: impatient})
	tr.logger = zap.New(core)
	for range 3 {
		res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || call.Outcome != OutcomeExhausted {
			t.Errorf("got %d, outcome %s, %v", res.StatusCode, call.Outcome, res.Header)
		}
	}
	from.down.Store(false)
	tr.Retry.WaitForKey = caddy.Duration(5 * time.Second)
	if status, _, _ := chat(t, tr, chatBody); status != 200 {
		t.Errorf("after the issuer is back: got %d", status)
	}
	var said []string
	for _, entry := range logs.All() {
		said = append(said, entry.Level.String()+" "+entry.Message+" "+fmt.Sprint(entry.ContextMap()["error"]))
	}
	if len(said) != 2 || !strings.HasPrefix(said[0], "warn") || !strings.HasSuffix(said[0], "connection refused") || !strings.HasPrefix(said[1], "info") {
		t.Errorf("the log says %q", said)
	}
}

// What is lent goes as a bearer, wherever the family puts keys; and a request
// that is to be signed is signed when it is complete, in place of a bearer.
func TestHowWhatIsLentIsSent(t *testing.T) {
	signed := &issuer{sign: func(req *http.Request, body []byte) error {
		for name := range req.Header {
			req.Header.Add("Signed", name)
		}
		req.Header.Set("Authorization", "Signature of "+req.Host+" "+req.URL.String()+" "+string(body))
		return nil
	}}
	const body = `{"model":"m","max_tokens":1,"messages":[]}`
	for i, test := range []struct {
		family, path string
		from         *issuer
	}{
		{"anthropic", "/v1/messages", new(issuer)},
		{"azure", "/openai/deployments/m/chat/completions?api-version=1", new(issuer)},
		{"gemini", "/v1beta/models/m:generateContent", new(issuer)},
		{"vertex", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", new(issuer)},
		{"bedrock", "/model/m/converse", new(issuer)},
		{"anthropic", "/v1/messages", signed},
		{"bedrock", "/model/eu.a-v1:0/converse", signed},
	} {
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, `{}`) })
		p := &Provider{Name: "p", API: test.family, BaseURL: up.URL, Keys: []*Key{lentKey(t, strconv.Itoa(i), test.from)}}
		tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
		res, _ := post(t, context.Background(), tr, test.path, body)
		if res.StatusCode != 200 {
			t.Errorf("%s: got %d", test.path, res.StatusCode)
		}
		got := up.requests()[0]
		want := "Bearer canary-token-1"
		if test.from.sign != nil {
			want = "Signature of " + strings.TrimPrefix(up.URL, "http://") + " " + up.URL + test.path + " " + body
		}
		if auth := got.header.Get("Authorization"); auth != want {
			t.Errorf("%s: sent %q, want %q", test.path, auth, want)
		}
		if got.header.Get("X-Api-Key") != "" || got.header.Get("Api-Key") != "" || got.header.Get("X-Goog-Api-Key") != "" {
			t.Errorf("%s: sent a key, too: %v", test.path, got.header)
		}
		if (got.header.Get("Anthropic-Version") == "") == (test.family == "anthropic") {
			t.Errorf("%s: sent %v", test.path, got.header)
		}
		for name := range got.header {
			switch name {
			case "Authorization", "Signed", "Content-Length", "User-Agent": // the last two are net/http's
			default:
				if test.from.sign != nil && !strings.Contains(strings.Join(got.header["Signed"], " "), name) {
					t.Errorf("%s: %s came after the signature", test.path, name)
				}
			}
		}
	}
}

// A request that cannot be signed is not sent, and another key is asked.
func TestRequestThatCannotBeSigned(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	broken := &issuer{same: true, sign: func(*http.Request, []byte) error { return errors.New("no region") }}
	p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "lent", broken), {ID: "own", Secret: "own-" + t.Name()}}}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	status, _, call := chat(t, tr, chatBody)
	if status != 200 || len(call.Attempts) != 2 || call.Attempts[0].Verdict.Detail != "signing: no region" || len(up.requests()) != 1 {
		t.Errorf("got %d after %+v", status, call.Attempts)
	}
}

// Should a provider repeat a token, it does not reach the client.
func TestTokenIsNotPassedOn(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, token string) {
		w.Header().Set("X-Echo", token)
		if r.Header.Get("Authorization") != "" {
			answerJSON(w, 400, `{"error":{"message":"bad request with `+token+`"}}`)
		}
	})
	p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "lent", new(issuer))}}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
	text := new(strings.Builder)
	_ = res.Header.Write(text)
	if _, err := io.Copy(text, res.Body); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String()+fmt.Sprintf("%+v", call), "canary") {
		t.Errorf("the token shows: %s", text)
	}
}

// A call does not wait for a token beyond its own end, and one whose client
// goes away costs nobody anything.
func TestWaitForATokenEndsWithTheCall(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	p := &Provider{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "lent", &issuer{silent: true})}}
	tr := provision(t, &Transport{
		Providers: []*Provider{p}, Retry: quick,
		Timeouts: Timeouts{Total: caddy.Duration(100 * time.Millisecond), FirstToken: -1},
	})
	began := time.Now()
	if status, _, _ := chat(t, tr, chatBody); status != 503 || time.Since(began) > 2*time.Second {
		t.Errorf("got %d after %s", status, time.Since(began))
	}
	ctx, leave := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, leave)
	if res, call := post(t, ctx, tr, "/v1/chat/completions", chatBody); res != nil || call.Outcome != OutcomeCanceled {
		t.Errorf("got %v, outcome %s", res, call.Outcome)
	}
	if status := p.pool.Load().Snapshot()[0]; status.InFlight != 0 || status.State != "closed" || status.Total != 0 {
		t.Errorf("the key's health is %+v", status)
	}
}

// A reload goes on with the token at hand.
func TestReloadKeepsTheToken(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, chatAnswer) })
	from := new(issuer)
	transport := func() *Transport {
		return provision(t, &Transport{Providers: []*Provider{{Name: "p", BaseURL: up.URL, Keys: []*Key{lentKey(t, "lent", from)}}}, Retry: quick})
	}
	before := transport()
	chat(t, before, chatBody)
	after := transport()
	if err := before.Cleanup(); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*Transport{after, before} { // a call of before may still be under way
		if status, _, _ := chat(t, tr, chatBody); status != 200 {
			t.Errorf("got %d", status)
		}
	}
	if n := from.asked.Load(); n != 1 {
		t.Errorf("asked for %d tokens", n)
	}
}

// What cannot be is refused when the config is loaded.
func TestRefusedCredentials(t *testing.T) {
	for want, key := range map[string]*Key{
		"both a secret and 'credentials'":            {Secret: "canary", CredentialsRaw: json.RawMessage(`{"source":"numbered"}`)},
		"there is no module llm.credentials.gogle":   {CredentialsRaw: json.RawMessage(`{"source":"gogle"}`)},
		"--with github.com/seed83435595/caddy-llm-p": {CredentialsRaw: json.RawMessage(`{"source":"aws"}`)},
		"unknown field":       {CredentialsRaw: json.RawMessage(`{"source":"numbered","nam":1}`)},
		"the secret is empty": {},
		"credentials aws":     {Secret: "AKIACANARY0123456789:canary"},
	} {
		tr := &Transport{Providers: []*Provider{{Name: "p", API: "bedrock", BaseURL: "http://127.0.0.1:1", Keys: []*Key{key}}}}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		err := tr.Provision(ctx)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("want %q, got %v", want, err)
		}
		_ = tr.Cleanup()
		cancel()
	}
}
