// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// refusal is an answer of a provider that nobody but its operator understands.
type refusal struct {
	status int
	header http.Header
	body   string
}

func (r refusal) write(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	answerJSON(w, r.status, r.body)
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// An operator's rule says what an answer means, and which of two keys and
// models rest for it.
func TestOperatorsRules(t *testing.T) {
	busy := refusal{418, http.Header{"X-Reason": {"busy 7"}}, `{"note":"Konto leer"}`}
	limited := VerdictRule{Class: "rate_limited", Wait: caddy.Duration(30 * time.Second)}
	with := func(change func(*VerdictRule)) []*VerdictRule {
		rule := limited
		change(&rule)
		return []*VerdictRule{&rule}
	}
	byStatus := with(func(r *VerdictRule) { r.Status = []string{"404", "418"} })
	for name, test := range map[string]struct {
		rules, block []*VerdictRule
		refusal      refusal
		class        string
		attempts     int
		rest         time.Duration
	}{
		"none":             {nil, nil, busy, "caller", 1, 0},
		"by status":        {byStatus, nil, busy, "rate_limited", 2, 30 * time.Second},
		"by a class of it": {with(func(r *VerdictRule) { r.Status = []string{"4xx"} }), nil, busy, "rate_limited", 2, 30 * time.Second},
		"another status":   {with(func(r *VerdictRule) { r.Status = []string{"5xx", "400"} }), nil, busy, "caller", 1, 0},
		"by header":        {with(func(r *VerdictRule) { r.Header = map[string]string{"x-reason": `^busy \d$`} }), nil, busy, "rate_limited", 2, 30 * time.Second},
		"another header":   {with(func(r *VerdictRule) { r.Header = map[string]string{"X-Reason": "idle"} }), nil, busy, "caller", 1, 0},
		"by body":          {with(func(r *VerdictRule) { r.Body = "(?i)konto +leer" }), nil, busy, "rate_limited", 2, 30 * time.Second},
		"all must fit": {with(func(r *VerdictRule) {
			r.Status, r.Header, r.Body = []string{"418"}, map[string]string{"X-Reason": "busy", "X-Other": ""}, "leer"
		}), nil, busy, "caller", 1, 0},
		"a body that is encoded": {
			with(func(r *VerdictRule) { r.Body = "Konto" }), nil,
			refusal{418, http.Header{"Content-Encoding": {"gzip"}}, zipped(`{"note":"Konto leer"}`)}, "rate_limited", 2, 30 * time.Second,
		},
		"a body beyond the bound": {
			with(func(r *VerdictRule) { r.Body = "Konto" }), nil,
			refusal{418, nil, strings.Repeat(" ", 70<<10) + `{"note":"Konto leer"}`}, "caller", 1, 0,
		},
		"for all providers": {nil, byStatus, busy, "rate_limited", 2, 30 * time.Second},
		"the provider's first": {
			[]*VerdictRule{{Class: "quota", Status: []string{"418"}, Wait: caddy.Duration(time.Hour)}}, byStatus, busy, "quota", 2, time.Hour,
		},
		"before what is known": {
			[]*VerdictRule{{Class: "caller", Status: []string{"401"}}}, nil,
			refusal{401, nil, `{"error":{"code":"invalid_api_key","message":"Incorrect API key provided"}}`}, "caller", 1, 0,
		},
		"the provider's own wait": {
			[]*VerdictRule{{Class: "rate_limited", Status: []string{"418"}}}, nil,
			refusal{418, http.Header{"Retry-After": {"20"}}, `{}`}, "rate_limited", 2, 20 * time.Second,
		},
		"longer than is believed otherwise": {
			[]*VerdictRule{{Class: "quota", Status: []string{"418"}, Wait: caddy.Duration(72 * time.Hour)}}, nil, busy, "quota", 2, 72 * time.Hour,
		},
		"stop": {
			[]*VerdictRule{{Class: "rate_limited", Status: []string{"418"}, Wait: caddy.Duration(time.Minute), Stop: true}}, nil, busy, "rate_limited", 1, time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := "first-" + t.Name()
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
				if key == first {
					test.refusal.write(w)
					return
				}
				answerJSON(w, 200, chatAnswer)
			})
			p := pool("p", up.URL, first, "second-"+t.Name())
			p.Verdicts = test.rules
			tr := provision(t, &Transport{Providers: []*Provider{p}, Verdicts: test.block, Retry: quick})
			status, text, call := chat(t, tr, chatBody)
			if want := map[int]int{1: test.refusal.status, 2: 200}[test.attempts]; status != want {
				t.Errorf("got %d %s, want %d", status, text, want)
			}
			if got := call.Attempts[0].Verdict.Class.String(); got != test.class || len(call.Attempts) != test.attempts {
				t.Errorf("class %s after %d attempts", got, len(call.Attempts))
			}
			known := p.pool.Load().Snapshot()[0]
			until := known.CoolingUntil
			if model := known.CoolingModels["gpt-4o"].Until; model.After(until) {
				until = model
			}
			if rest := max(0, time.Until(until)); rest > test.rest || rest < test.rest-time.Second {
				t.Errorf("the key rests %s, want %s", rest, test.rest)
			}
		})
	}
}

// A rule for the provider as such closes the way to the model for its wait.
func TestOperatorsRuleForTheProvider(t *testing.T) {
	for class, others := range map[string]int{"upstream": 200, "overloaded": 200, "region": 503} {
		t.Run(class, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
				if strings.Contains(r.Header.Get("X-Model"), "bad") {
					answerJSON(w, 418, `{}`)
					return
				}
				answerJSON(w, 200, chatAnswer)
			})
			p := pool("p", up.URL, "a-"+t.Name())
			p.Verdicts = []*VerdictRule{{Class: class, Status: []string{"418"}, Wait: caddy.Duration(40 * time.Second)}}
			retry := quick
			retry.Attempts = -1
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: retry})
			bad := func() *http.Response {
				res, _ := postWith(t, tr, http.Header{"X-Model": {"bad"}}, strings.Replace(chatBody, "gpt-4o", "bad", 1))
				return res
			}
			if res := bad(); res.StatusCode != 418 {
				t.Errorf("got %d", res.StatusCode)
			}
			asked := len(up.requests())
			if class != "overloaded" { // which the last target is asked in spite of
				if res := bad(); res.StatusCode != 503 || res.Header.Get("Retry-After") != "40" {
					t.Errorf("got %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
				}
				if len(up.requests()) != asked {
					t.Error("the model was asked although it rests")
				}
			}
			circuits := p.pool.Load().UpstreamStatus().Circuits
			if len(circuits) != 1 || circuits[0].State != "resting" || time.Until(circuits[0].Until) < 39*time.Second {
				t.Errorf("circuits: %+v", circuits)
			}
			if status, _, _ := chat(t, tr, chatBody); status != others {
				t.Errorf("another model: got %d, want %d", status, others)
			}
		})
	}
}

// postWith carries one chat call with headers of the client's.
func postWith(t *testing.T, tr *Transport, header http.Header, body string) (*http.Response, *Call) {
	t.Helper()
	return postHeader(t, context.Background(), tr, "/v1/chat/completions", header, body)
}

// Errors within a success fall under the rules, too.
func TestOperatorsRulesWithinASuccess(t *testing.T) {
	event := `data: {"error":{"message":"Konto leer","code":"E77"}}` + "\n\n"
	for name, test := range map[string]struct {
		rule  VerdictRule
		fail  func(w http.ResponseWriter)
		body  string
		class string
	}{
		"an error event": {
			VerdictRule{Class: "quota", Body: "E77"},
			func(w http.ResponseWriter) { stream(w, roleChunk, event) }, chatStreamBody, "quota",
		},
		"an event that names a status": {
			VerdictRule{Class: "quota", Status: []string{"418"}},
			func(w http.ResponseWriter) { stream(w, `data: {"error":{"message":"tea","code":418}}`+"\n\n") }, chatStreamBody, "quota",
		},
		"a whole answer that only a rule can tell": {
			VerdictRule{Class: "quota", Status: []string{"200"}, Body: `"success":\s*false`},
			func(w http.ResponseWriter) { answerJSON(w, 200, `{"success":false,"msg":"no money"}`) }, chatBody, "quota",
		},
		"its header": {
			VerdictRule{Class: "overloaded", Status: []string{"2xx"}, Header: map[string]string{"X-Busy": "yes"}},
			func(w http.ResponseWriter) {
				w.Header().Set("X-Busy", "yes")
				answerJSON(w, 200, chatAnswer)
			}, chatBody, "overloaded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := "first-" + t.Name()
			up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
				switch {
				case key == first:
					test.fail(w)
				case test.body == chatStreamBody:
					stream(w, roleChunk, chunk("hi"), finishChunk, doneEvent)
				default:
					answerJSON(w, 200, chatAnswer)
				}
			})
			p := pool("p", up.URL, first, "second-"+t.Name())
			p.Verdicts = []*VerdictRule{&test.rule}
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
			status, text, call := chat(t, tr, test.body)
			if status != 200 || len(call.Attempts) != 2 || call.Attempts[0].Verdict.Class.String() != test.class {
				t.Errorf("got %d %s after %+v", status, text, call.Attempts)
			}
		})
	}
}

// A rule without a status is not for answers that are no error, and what a
// model says in a stream is no matter for rules.
func TestOperatorsRulesLeaveSuccessesAlone(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("X-Stream") != "" {
			stream(w, roleChunk+chunk("hello")+finishChunk+doneEvent)
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
	p := pool("p", up.URL, "a-"+t.Name())
	p.Verdicts = []*VerdictRule{{Class: "quota", Body: "hello"}}
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	if status, _, _ := chat(t, tr, chatBody); status != 200 {
		t.Errorf("a whole answer: got %d", status)
	}
	p.Verdicts[0].Status = []string{"200"}
	tr = provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	res, _ := postWith(t, tr, http.Header{"X-Stream": {"yes"}}, chatStreamBody)
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(text), "hello") {
		t.Errorf("a stream: got %d %s", res.StatusCode, text)
	}
}

// A refused prompt goes to no other target when a rule says so.
func TestOperatorsRuleStopsAtTheFirstTarget(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 418, `{}`) })
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())},
		Models: []*ModelRoute{{
			Match: "*", Targets: []Target{{Provider: "p"}}, ContextLength: []Target{{Provider: "p", Model: "long"}},
		}},
		Verdicts: []*VerdictRule{{Class: "context", Status: []string{"418"}, Stop: true}},
		Retry:    quick,
	})
	if status, _, call := chat(t, tr, chatBody); status != 418 || len(call.Attempts) != 1 {
		t.Errorf("got %d after %d attempts", status, len(call.Attempts))
	}
	tr.Verdicts[0].Stop = false
	if _, _, call := chat(t, provision(t, &Transport{Providers: tr.Providers, Models: tr.Models, Verdicts: tr.Verdicts, Retry: quick}), chatBody); len(call.Attempts) != 2 {
		t.Errorf("without stop: %d attempts", len(call.Attempts))
	}
}

func TestRefusedRules(t *testing.T) {
	for want, rule := range map[string]*VerdictRule{
		"null":                     nil,
		"unknown class":            {Class: "odd", Status: []string{"418"}},
		`unknown class "canceled"`: {Class: "canceled", Status: []string{"418"}},
		"every error":              {Class: "quota"},
		"neither a status":         {Class: "quota", Status: []string{"6xx"}},
		"neither a status such":    {Class: "quota", Status: []string{"99"}},
		"header X-A":               {Class: "quota", Header: map[string]string{"X-A": "("}},
		"body: ":                   {Class: "quota", Body: "("},
		"costs nothing":            {Class: "caller", Body: "x", Wait: 1},
		"not be negative":          {Class: "quota", Body: "x", Wait: -1},
	} {
		if _, err := ownRules([]*VerdictRule{rule}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
