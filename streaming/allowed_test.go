// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// threeProviders is a transport with the providers a, b and c. What each of
// them answers begins with its name, unless answers says otherwise.
func threeProviders(t *testing.T, line *ModelRoute, answers map[string]func(w http.ResponseWriter), more ...*ModelRoute) *Transport {
	t.Helper()
	tr := &Transport{Models: append([]*ModelRoute{line}, more...), Retry: quick}
	for _, name := range []string{"a", "b", "c"} {
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			if answer := answers[name]; answer != nil {
				answer(w)
				return
			}
			answerJSON(w, 200, `{"model":"of-`+name+`","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`)
		})
		tr.Providers = append(tr.Providers, pool(name, up.URL, name+"-"+t.Name()))
	}
	return provision(t, tr)
}

func targetsOf(names ...string) (targets []Target) {
	for _, name := range names {
		targets = append(targets, Target{Provider: name})
	}
	return targets
}

// ask makes a call that only certain providers may serve, and returns which of
// them did.
func ask(t *testing.T, tr *Transport, method, path, body string, providers ...string) (int, string, *Call) {
	t.Helper()
	request, err := wire.Recognize(method, &url.URL{Path: path}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := request.ReadBody("application/json", []byte(body)); err != nil {
		t.Fatal(err)
	}
	call := &Call{ID: "test-request", Request: request, Body: []byte(body), Started: time.Now(), Providers: providers}
	status, text := carry(t, tr, call, method, path)
	return status, text, call
}

// carry carries a call through the transport and reads the answer.
func carry(t *testing.T, tr *Transport, call *Call, method, path string) (int, string) {
	t.Helper()
	res, err := tr.RoundTrip(httptest.NewRequestWithContext(WithCall(t.Context(), call), method, "http://gateway"+path, bytes.NewReader(call.Body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

const chatPath = "/v1/chat/completions"

// A call goes only to providers that may serve it, also when those fail, and
// also over the targets for what others have refused.
func TestOnlyAllowedProvidersServe(t *testing.T) {
	fails := func(w http.ResponseWriter) { answerJSON(w, 500, `{"error":{"message":"boom"}}`) }
	tooLong := func(w http.ResponseWriter) {
		answerJSON(w, 400, `{"error":{"message":"too long","code":"context_length_exceeded"}}`)
	}
	for name, test := range map[string]struct {
		line    *ModelRoute
		answers map[string]func(w http.ResponseWriter)
		may     []string
		status  int
		served  string
	}{
		"all":              {line: &ModelRoute{Targets: targetsOf("a", "b")}, status: 200, served: "a"},
		"the second":       {line: &ModelRoute{Targets: targetsOf("a", "b", "c")}, may: []string{"b"}, status: 200, served: "b"},
		"by a pattern":     {line: &ModelRoute{Targets: targetsOf("a", "b", "c")}, may: []string{"x*", "*c"}, status: 200, served: "c"},
		"none that serves": {line: &ModelRoute{Targets: targetsOf("a", "b")}, may: []string{"c"}, status: 403},
		"none at all":      {line: &ModelRoute{Targets: targetsOf("a", "b")}, may: []string{}, status: 403},
		"a fallback": {
			line:    &ModelRoute{Targets: targetsOf("a", "b", "c")},
			answers: map[string]func(http.ResponseWriter){"a": fails}, may: []string{"a", "c"}, status: 200, served: "c",
		},
		"no fallback": {
			line:    &ModelRoute{Targets: targetsOf("a", "b")},
			answers: map[string]func(http.ResponseWriter){"a": fails}, may: []string{"a"}, status: 500, served: "a",
		},
		"no larger window": {
			line:    &ModelRoute{Targets: targetsOf("a"), ContextLength: targetsOf("b")},
			answers: map[string]func(http.ResponseWriter){"a": tooLong}, may: []string{"a"}, status: 400, served: "a",
		},
		"another larger window": {
			line:    &ModelRoute{Targets: targetsOf("a"), ContextLength: targetsOf("b", "c")},
			answers: map[string]func(http.ResponseWriter){"a": tooLong}, may: []string{"a", "c"}, status: 200, served: "c",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.line.Match = "gpt-4o"
			tr := threeProviders(t, test.line, test.answers)
			status, text, call := ask(t, tr, "POST", chatPath, chatBody, test.may...)
			if status != test.status || call.Provider != test.served {
				t.Errorf("got %d by %q, want %d by %q: %s", status, call.Provider, test.status, test.served, text)
			}
			if status == 403 && (call.Refusal != "provider_not_allowed" || call.Outcome != OutcomeRefused || len(call.Attempts) > 0) {
				t.Errorf("refused as %q, %s, after %d attempts", call.Refusal, call.Outcome, len(call.Attempts))
			}
		})
	}
}

// Of a split a client gets the targets that it may use, and those by their
// weights.
func TestSplitAmongAllowedProviders(t *testing.T) {
	tr := threeProviders(t, &ModelRoute{Match: "gpt-4o", Targets: targetsOf("a", "b", "c"), Split: []int{50, 25, 25}}, nil)
	count := func(may ...string) map[string]int {
		served := map[string]int{}
		for range 30 {
			_, _, call := ask(t, tr, "POST", chatPath, chatBody, may...)
			served[call.Provider]++
		}
		return served
	}
	if served := count("b", "c"); served["a"] > 0 || served["b"] < 10 || served["c"] < 10 {
		t.Errorf("b and c have served %v", served)
	}
	if served := count("c"); served["c"] != 30 {
		t.Errorf("c has served %v", served)
	}
}

// What names no model goes to the first provider that may serve it.
func TestAllowedProviderWithoutAModel(t *testing.T) {
	tr := threeProviders(t, &ModelRoute{Match: "*", Targets: targetsOf("a")}, nil)
	if status, _, call := ask(t, tr, "GET", "/v1/models", "", "b", "c"); status != 200 || call.Provider != "b" {
		t.Errorf("got %d by %q", status, call.Provider)
	}
	if status, text, _ := ask(t, tr, "GET", "/v1/models", "", "none"); status != 403 || !strings.Contains(text, "provider_not_allowed") {
		t.Errorf("got %d %s", status, text)
	}
}

// A list of models that the config knows is without those that only others
// serve.
func TestListOfModelsOfAllowedProviders(t *testing.T) {
	tr := threeProviders(t, &ModelRoute{Match: "of-a", Targets: targetsOf("a")}, nil,
		&ModelRoute{Match: "of-a-and-b", Targets: targetsOf("a", "b")})
	for _, test := range []struct{ may, want []string }{
		{nil, []string{"of-a", "of-a-and-b"}}, {[]string{"b"}, []string{"of-a-and-b"}}, {[]string{"c"}, nil},
	} {
		status, text, call := ask(t, tr, "GET", "/v1/models", "", test.may...)
		var list struct{ Data []struct{ ID string } }
		if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 || len(call.Attempts) > 0 {
			t.Fatalf("got %d %s", status, text)
		}
		var names []string
		for _, model := range list.Data {
			names = append(names, model.ID)
		}
		if !slices.Equal(names, test.want) {
			t.Errorf("who may use %v is told of %v, want %v", test.may, names, test.want)
		}
	}
}

// What another provider has stored is out of reach.
func TestStoredObjectsOfOtherProviders(t *testing.T) {
	v, w := newVault(t), newVault(t)
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("a", v.URL, "a-"+t.Name()), pool("b", w.URL, "b-"+t.Name())},
		Models:    []*ModelRoute{{Match: "*", Targets: targetsOf("a", "b")}}, Retry: quick,
	})
	_, text, _ := respond(t, tr, "", "")
	id := idIn(t, text)
	if status, _, _ := ask(t, tr, "GET", "/v1/responses/"+id, ""); status != 200 {
		t.Fatalf("its maker does not find it: %d", status)
	}
	if status, _, call := ask(t, tr, "GET", "/v1/responses/"+id, "", "b"); status != 404 || call.Provider != "b" {
		t.Errorf("got %d by %q", status, call.Provider)
	}
}
