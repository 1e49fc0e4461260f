// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// A provider that repeats our key in an error says nothing to the client.
func TestEchoedKeyStaysIn(t *testing.T) {
	for _, status := range []int{400, 403, 404, 422, 429, 500} {
		key := "sk-canary-" + t.Name()
		up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Debug-Key", key)
			answerJSON(w, status, `{"error":{"message":"Key `+key+` is not ok here","code":"`+key+`"}}`)
		})
		tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, key)}, Retry: Retry{Attempts: -1, WaitForKey: -1}})
		res, call := post(t, context.Background(), tr, "/v1/chat/completions", chatBody)
		text, _ := io.ReadAll(res.Body)
		for name, values := range res.Header {
			text = append(text, name+strings.Join(values, "")...)
		}
		if strings.Contains(string(text), "canary") || strings.Contains(call.Attempts[0].Verdict.Detail, "canary") {
			t.Errorf("%d: got %s, detail %s", status, text, call.Attempts[0].Verdict.Detail)
		}
		if err := tr.Cleanup(); err != nil {
			t.Fatal(err)
		}
	}
}

// Nor does one that repeats it in an error within a success, before it has said
// anything else.
func TestKeyEchoedBeforeContentStaysIn(t *testing.T) {
	key := "sk-canary-" + t.Name()
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, roleChunk, `data: {"error":{"message":"Key `+key+` is not ok here","code":"`+key+`"}}`+"\n\n")
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, key)}, Retry: Retry{Attempts: -1, WaitForKey: -1}})
	status, text, call := chat(t, tr, chatStreamBody)
	if status < 400 || strings.Contains(text, "canary") || strings.Contains(call.Attempts[0].Verdict.Detail, "canary") {
		t.Errorf("got %d %s, detail %s", status, text, call.Attempts[0].Verdict.Detail)
	}
}

// Nobody is told to wait for ever, or until yesterday.
func TestOddWaitIsNotPassedOn(t *testing.T) {
	for _, status := range []int{200, 400, 503} {
		for _, wait := range []string{"NaN", "-5", "1e30", "Thu, 01 Jan 1970 00:00:00 GMT", "20"} {
			res, _, _, _ := answered(t, "/v1/chat/completions", chatBody, nil, func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", wait)
				answerJSON(w, status, chatAnswer)
			})
			if got := res.Header.Get("Retry-After"); res.StatusCode != status || got != "" && got != "20" || got == "" && wait == "20" {
				t.Errorf("%d with %s: got %d with %q", status, wait, res.StatusCode, got)
			}
		}
	}
}

// Informational answers are not passed on past us.
func TestInformationalAnswersStayIn(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Leak", "secret")
		w.WriteHeader(http.StatusEarlyHints)
		answerJSON(w, 200, chatAnswer)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			t.Errorf("passed on %d %v", code, header)
			return nil
		},
	})
	if res, _ := post(t, ctx, tr, "/v1/chat/completions", chatBody); res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
}

// saying returns a provider that answers with a text as it stands.
func saying(t *testing.T, text string) *upstream {
	t.Helper()
	return scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text)
	})
}

// A provider has failed that switches protocols unasked, or answers with a
// status that there is not.
func TestAnswerThatIsNone(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"HTTP/1.1 042 What\r\nContent-Length: 2\r\n\r\n{}",
	} {
		up := saying(t, text)
		tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
		if status, _, call := chat(t, tr, chatBody); status != http.StatusBadGateway || call.Attempts[0].Verdict.Class != keypool.ClassUpstream {
			t.Errorf("%.20q: got %d after %v", text, status, call.Attempts)
		}
	}
}

// A document that stops in the middle is no answer, however politely.
func TestHalfADocumentIsNoAnswer(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer[:len(chatAnswer)/2]) })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if status, text, call := chat(t, tr, chatBody); status != http.StatusBadGateway || len(call.Attempts) != 3 {
		t.Errorf("got %d %s after %d attempts", status, text, len(call.Attempts))
	}
}

// A redirect is the client's to judge: it is passed on, once.
func TestRedirectIsPassedOnOnce(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://elsewhere.example")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if status, _, _ := chat(t, tr, chatBody); status != http.StatusTemporaryRedirect || len(up.requests()) != 1 {
		t.Errorf("got %d after %d requests", status, len(up.requests()))
	}
}

// What creates something is not sent again after a gateway's timeout.
func TestDoesNotRepeatWhatCreatesAfterATimeout(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 504, "timeout") })
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	if res, _ := post(t, context.Background(), tr, "/v1/batches", `{"input_file_id":"f"}`); res.StatusCode != 504 || len(up.requests()) != 1 {
		t.Errorf("got %d after %d requests", res.StatusCode, len(up.requests()))
	}
}

// What one client's own request meets takes no key from the others.
func TestOneClientsMistakeCostsTheOthersNothing(t *testing.T) {
	for name, refusal := range map[string]struct {
		status     int
		path, body string
	}{
		"more than the account can pay": {402, "/v1/chat/completions", `{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 5000","code":402}}`},
		"another key's file":            {403, "/v1/chat/completions", `{"error":{"code":403,"message":"You do not have permission to access the File abc or it may not exist.","status":"PERMISSION_DENIED"}}`},
		"an administrator's path":       {403, "/v1/organization/users", `{"error":{"message":"no","code":"insufficient_permissions"}}`},
		"a scope that the key lacks":    {401, "/v1/organization/users", `{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.management.read","type":"invalid_request_error"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			up := scripted(t,
				func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, refusal.status, refusal.body) },
				func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) })
			tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
			if res, _ := post(t, context.Background(), tr, refusal.path, chatBody); res.StatusCode != refusal.status {
				t.Errorf("the client at fault got %d", res.StatusCode)
			}
			if status, text, _ := chat(t, tr, chatBody); status != 200 {
				t.Errorf("another client got %d %s", status, text)
			}
		})
	}
}

// A stream that only pings is shown to its client after the time for a first
// token, even if there is no other target.
func TestPingsAreShownInTheEnd(t *testing.T) {
	up := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			stream(w, ": ping\n\n")
			time.Sleep(5 * time.Millisecond)
		}
	})
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
		Timeouts: Timeouts{FirstToken: caddy.Duration(50 * time.Millisecond)},
	})
	res, _ := post(t, context.Background(), tr, "/v1/chat/completions", chatStreamBody)
	if res.StatusCode != 200 {
		t.Errorf("got %d", res.StatusCode)
	}
	res.Body.Close()
}
