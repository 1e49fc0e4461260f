// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// told asks three providers, of which the first serves what names no model, of
// one model. It returns the status, the answer and which paths were asked for.
func told(t *testing.T, lines []*ModelRoute, api, path string, header http.Header, may []string) (int, string, string) {
	t.Helper()
	asked := ""
	tr := &Transport{Models: lines, Retry: quick}
	for _, name := range []string{"a", "b"} {
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			asked += name + " " + r.URL.EscapedPath()
			answerJSON(w, 200, `{"id":"of-`+name+`"}`)
		})
		p := pool(name, up.URL, name+"-"+t.Name())
		p.API = api
		tr.Providers = append(tr.Providers, p)
	}
	provision(t, tr)
	request, err := wire.Recognize(http.MethodGet, httpURL(t, "http://gateway"+path), header)
	if err != nil {
		t.Fatal(err)
	}
	call := &Call{ID: "test-request", Request: request, Started: time.Now(), Providers: may}
	status, text := carry(t, tr, call, http.MethodGet, path)
	return status, text, asked
}

// Who asks for one model is sent where calls of that model go, by the name that
// it has there. What no list would show is not there, in the family's words.
func TestOneModelIsAskedWhereItIsServed(t *testing.T) {
	names := []*ModelRoute{
		{Match: "gpt-4o", Targets: targetsOf("a")},
		{Match: "fast", Targets: []Target{{Provider: "b", Model: "org/llama 3"}}},
		{Match: "org/own", Targets: targetsOf("b")},
	}
	patterns := []*ModelRoute{{Match: "gpt-*", Targets: targetsOf("b")}}
	anthropic := http.Header{"Anthropic-Version": {"2023-06-01"}}
	for name, test := range map[string]struct {
		lines     []*ModelRoute
		api, path string
		header    http.Header
		may       []string
		asked     string
		status    int
		text      string
	}{
		"the first's":                 {names, "openai", "/v1/models/gpt-4o", nil, nil, "a /v1/models/gpt-4o", 200, "of-a"},
		"another's":                   {names, "openai", "/v1/models/org%2Fown", nil, nil, "b /v1/models/org%2Fown", 200, "of-b"},
		"with a slash":                {names, "openai", "/v1/models/org/own", nil, nil, "b /v1/models/org/own", 200, "of-b"},
		"by another name":             {names, "openai", "/v1/models/fast", nil, nil, "b /v1/models/org%2Fllama%203", 200, "of-b"},
		"unknown":                     {names, "openai", "/v1/models/o1", nil, nil, "", 404, `"code":"model_not_found"`},
		"of no provider of its":       {names, "openai", "/v1/models/fast", nil, []string{"a"}, "", 404, `"code":"model_not_found"`},
		"of a pattern":                {patterns, "openai", "/v1/models/gpt-5", nil, nil, "b /v1/models/gpt-5", 200, "of-b"},
		"in the list of the provider": {patterns, "openai", "/v1/models/o1", nil, nil, "a /v1/models/o1", 200, "of-a"},
		"as Anthropic has it":         {names, "anthropic", "/v1/models/fast", anthropic, nil, "b /v1/models/org%2Fllama%203", 200, "of-b"},
		"unknown to Anthropic":        {names, "anthropic", "/v1/models/o1", anthropic, nil, "", 404, `"type":"not_found_error"`},
		"as Google has it":            {names, "gemini", "/v1beta/models/fast", nil, nil, "b /v1beta/models/org%2Fllama%203", 200, "of-b"},
		"unknown to Google":           {names, "gemini", "/v1beta/models/o1", nil, nil, "", 404, `"status":"NOT_FOUND"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, text, asked := told(t, test.lines, test.api, test.path, test.header, test.may)
			if status != test.status || !strings.Contains(text, test.text) || asked != test.asked {
				t.Errorf("got %d %s, asked %q, want %d and %q", status, text, asked, test.status, test.asked)
			}
		})
	}
}
