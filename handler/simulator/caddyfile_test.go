// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

// parse makes a handler of the options of a block.
func parse(options string) (*simulator.Handler, error) {
	tokens, err := caddyfile.Tokenize([]byte("llm_simulator {\n"+options+"\n}"), "Caddyfile")
	if err != nil {
		return nil, err
	}
	h := new(simulator.Handler)
	return h, h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
}

// load makes a handler of JSON ready, as Caddy does.
func load(t *testing.T, config string) (*simulator.Handler, error) {
	t.Helper()
	h := new(simulator.Handler)
	if err := caddy.StrictUnmarshalJSON([]byte(config), h); err != nil {
		return nil, err
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		return nil, err
	}
	return h, h.Validate()
}

const everyOption = `
	first_token 300ms
	delay 50ms
	chunks 3
	chunk_size 10
	models one two
	models three
	fault error times 1
	key good
	key limited rate_limited 20s times 2
	model slow-* slow 5s
	model cut-* {
		fault cut 1
		first_token 1s
		delay 10ms
		chunks 7
	}
`

func TestEveryOptionSurvivesTheWayThroughJSON(t *testing.T) {
	h, err := parse(everyOption)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"first_token":300000000,"delay":50000000,"chunks":3,"chunk_size":10,"models":["one","two","three"],` +
		`"keys":[{"secret":"good"},{"secret":"limited","fault":"rate_limited 20s times 2"}],` +
		`"rules":[{"match":"slow-*","fault":"slow 5s"},{"match":"cut-*","fault":"cut 1","first_token":1000000000,"delay":10000000,"chunks":7}],` +
		`"fault":"error times 1"}`
	if string(encoded) != want {
		t.Errorf("got %s\nwant %s", encoded, want)
	}
	again := new(simulator.Handler)
	if err := caddy.StrictUnmarshalJSON(encoded, again); err != nil || !reflect.DeepEqual(h, again) {
		t.Errorf("%v: %+v became %+v", err, h, again)
	}
}

func TestALoadedConfigAnswersAsItSays(t *testing.T) {
	t.Setenv("SIM_KEY", "good")
	h, err := load(t, `{"chunks":2,"keys":[{"secret":"{env.SIM_KEY}"}],"rules":[{"match":"m-*","fault":"overloaded times 1"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{529, 200} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(plainBody))
		r.Header.Set("X-Api-Key", "good")
		if err := h.ServeHTTP(w, r, nil); err != nil || w.Code != want {
			t.Errorf("call %d: status %d, %v; want %d", i+1, w.Code, err, want)
		}
	}
}

func TestMistakesInACaddyfileNameTheirPlace(t *testing.T) {
	for options, want := range map[string]string{
		"colour blue":                      "unrecognized subdirective colour",
		"chunks":                           "wrong argument count",
		"chunks 1 2":                       "wrong argument count",
		"chunks 0":                         "chunks: not a number from 1 to 1000000: 0",
		"chunks -1":                        "chunks: not a number from 1 to 1000000: -1",
		"chunk_size -1":                    "chunk_size: not a number from 1 to 1000000: -1",
		"chunk_size 1000001":               "chunk_size: not a number",
		"delay -1s":                        "delay: -1s is no duration of more than nothing",
		"first_token soon":                 "first_token: soon is no duration such as",
		"models":                           "wrong argument count",
		"fault":                            "a fault needs a name",
		"fault flood":                      `unknown fault "flood"`,
		"fault slow":                       "fault slow: an argument is missing",
		"fault cut":                        "fault cut: an argument is missing",
		"fault stall times 2":              "fault stall: an argument is missing",
		"fault cut -1":                     "fault cut: not a count: -1",
		"fault slow -1s":                   "fault slow: -1s is no duration of more than nothing",
		"fault rate_limited 3":             "fault rate_limited: a duration needs a unit, such as 3s",
		"fault quota 3s":                   "fault quota: too many arguments: 3s",
		"fault cut 3 4":                    "fault cut: too many arguments: 4",
		"fault reset times 0":              "times: not a whole number above 0: 0",
		"fault reset times -1":             "times: not a whole number above 0: -1",
		"fault reset times":                "fault reset: too many arguments: times",
		"key":                              "key: a secret is needed",
		`key ""`:                           "key: a secret is needed",
		"key k flood":                      `unknown fault "flood"`,
		"model":                            "model: a pattern is needed",
		`model ""`:                         "model: not a pattern",
		"model [a":                         "model: not a pattern: [a",
		"model a flood":                    `unknown fault "flood"`,
		"model a {\n\t\tchunk_size 3\n\t}": "model: unrecognized option chunk_size",
	} {
		// The mistake stands in the third line, or in the block that begins there.
		_, err := parse("\n\t" + options)
		if err == nil {
			t.Errorf("%q: no error", options)
			continue
		}
		place := "at Caddyfile:3"
		if strings.Contains(options, "\n") {
			place = "at Caddyfile:4"
		}
		if text := err.Error(); !strings.Contains(text, want) || !strings.Contains(text, place) {
			t.Errorf("%q: %v", options, err)
		}
	}
}

func TestAnOptionThatStandsTwiceIsAMistake(t *testing.T) {
	for options, want := range map[string]string{
		"chunks 3\nchunks 3":               "chunks: already specified",
		"chunk_size 3\nchunk_size 4":       "chunk_size: already specified",
		"delay 1s\ndelay 1s":               "delay: already specified",
		"first_token 1s\nfirst_token 1s":   "first_token: already specified",
		"fault reset\nfault cut 1":         "fault: already specified",
		"key k\nkey k reset":               "key: already specified",
		"model a reset {\nfault cut 1\n}":  "fault: already specified",
		"model a {\nchunks 1\nchunks 1\n}": "chunks: already specified",
	} {
		if _, err := parse(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", options, err)
		}
	}
}

func TestJSONIsHeldToTheSame(t *testing.T) {
	for config, want := range map[string]string{
		`{"chunks":-1}`:                              "chunks: not a number",
		`{"chunks":1000001}`:                         "chunks: not a number",
		`{"chunk_size":-1}`:                          "chunk_size: not a number",
		`{"delay":-1}`:                               "negative",
		`{"first_token":"-1s"}`:                      "negative",
		`{"fault":"flood"}`:                          `unknown fault "flood"`,
		`{"fault":"cut"}`:                            "an argument is missing",
		`{"keys":[{"secret":""}]}`:                   "key 1: a secret is needed",
		`{"keys":[{"secret":"a"},{"secret":"a"}]}`:   "key 2: already specified",
		`{"keys":[{"secret":"{env.NOT_SET_HERE}"}]}`: "key 1",
		`{"keys":[{"secret":"a","fault":"flood"}]}`:  `key 1: unknown fault "flood"`,
		`{"rules":[{"match":"[a"}]}`:                 "not a pattern",
		`{"rules":[{}]}`:                             "not a pattern",
		`{"rules":[{"match":"a","chunks":-1}]}`:      `model "a": chunks: not a number`,
		`{"rules":[{"match":"a","fault":"flood"}]}`:  `model "a": unknown fault`,
		`{"colour":"blue"}`:                          "colour",
	} {
		if _, err := load(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
