// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

func TestAResetComesBeforeTheHeaders(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "reset")})
	for _, e := range append(streamed, whole...) {
		if r, err := send(t, e.request(t, base)); err == nil {
			t.Errorf("%s: status %d came", e.name, r.status)
		}
	}
}

func TestACutBreaksTheStreamAfterExactlyThatManyChunks(t *testing.T) {
	for text, want := range map[string]int{"cut 0": 0, "cut 2": 2, "cut 4": 4, "cut 99": 4} {
		base := serve(t, simulator.Options{Chunks: 4, Fault: fault(t, text)})
		for _, e := range streamed {
			r := ask(t, base, e)
			if r.status != 200 || !r.broken {
				t.Errorf("%s: %s: status %d, broken %v", text, e.name, r.status, r.broken)
			}
			if texts := r.texts(t, e); len(texts) != want {
				t.Errorf("%s: %s: texts %q", text, e.name, texts)
			}
			if got := r.scan(t, e); got.ended || got.Finish != "" && e.path != "/v1/responses" {
				t.Errorf("%s: %s: ended %v with %q", text, e.name, got.ended, got.Finish)
			}
		}
	}
}

func TestACutBreaksAnAnswerThatComesWhole(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "cut 3")})
	for _, e := range whole {
		r := ask(t, base, e)
		if r.status != 200 || !r.broken || r.body == "" || json.Valid([]byte(r.body)) {
			t.Errorf("%s: status %d, broken %v, %q", e.name, r.status, r.broken, r.body)
		}
	}
}

func TestOneEventIsMalformedAndTheOthersAreNot(t *testing.T) {
	for text, want := range map[string]int{"malformed 0": 0, "malformed 2": 2, "malformed 99": -1} {
		base := serve(t, simulator.Options{Chunks: 4, Fault: fault(t, text)})
		for _, e := range streamed {
			if e.isArray() {
				continue // there a broken element breaks the array
			}
			r := ask(t, base, e)
			if r.broken {
				t.Errorf("%s: %s: the connection broke", text, e.name)
			}
			bad := 0
			for _, data := range r.events(t, e) {
				if data != "[DONE]" && !json.Valid([]byte(data)) {
					bad++
				}
			}
			if bad != 1 {
				t.Errorf("%s: %s: %d malformed events", text, e.name, bad)
			}
			words := []string{"the ", "quick ", "brown ", "fox "}
			if want >= 0 {
				words = append(words[:want:want], words[want+1:]...)
			}
			if got := strings.Join(r.texts(t, e), ""); got != strings.Join(words, "") {
				t.Errorf("%s: %s: text %q", text, e.name, got)
			}
		}
	}
}

func TestAnArrayWithAMalformedElementStopsThere(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 4, Fault: fault(t, "malformed 2")})
	e := streamed[7]
	r := ask(t, base, e)
	if texts := r.texts(t, e); len(texts) != 2 || json.Valid([]byte(r.body)) {
		t.Errorf("texts %q in %s", texts, r.body)
	}
}

func TestAPlainAnswerIsMalformedWithoutBreaking(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "malformed 0")})
	for _, e := range whole {
		r := ask(t, base, e)
		if r.status != 200 || r.broken || r.body == "" || json.Valid([]byte(r.body)) {
			t.Errorf("%s: status %d, broken %v, %q", e.name, r.status, r.broken, r.body)
		}
	}
}

func TestTheTerminatorIsLeftOutAndNothingElse(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 3})
	broken := serve(t, simulator.Options{Chunks: 3, Fault: fault(t, "no_terminator")})
	for _, e := range streamed {
		good, r := ask(t, base, e), ask(t, broken, e)
		if r.broken || !strings.HasPrefix(good.body, r.body) || len(r.texts(t, e)) != 3 {
			t.Errorf("%s: broken %v, %s", e.name, r.broken, r.body)
		}
		all, events := good.events(t, e), r.events(t, e)
		if len(events) != len(all)-1 {
			t.Errorf("%s: %d events of %d", e.name, len(events), len(all))
		}
		// What ends a chat is its finish reason; "[DONE]" comes after it.
		isChat := all[len(all)-1] == "[DONE]"
		if got := r.scan(t, e); got.ended != isChat {
			t.Errorf("%s: ended %v", e.name, got.ended)
		}
	}
}

func TestAToolCallOfGeminiHasATerminatorToLeaveOut(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "no_terminator")})
	e := tools[3].endpoint
	e.body = strings.TrimSuffix(e.body, "}") + "," + tools[3].tools + "}"
	if got := ask(t, base, e).scan(t, e); got.ended || got.Finish != "" {
		t.Errorf("ended %v with %q", got.ended, got.Finish)
	}
}

func TestAnErrorEventEndsAStreamThatBeganWell(t *testing.T) {
	for text, want := range map[string]int{"error_event": 0, "error_event 2": 2, "error_event 99": 4} {
		base := serve(t, simulator.Options{Chunks: 4, Fault: fault(t, text)})
		for _, e := range streamed {
			r := ask(t, base, e)
			if r.status != 200 || r.broken {
				t.Errorf("%s: %s: status %d, broken %v", text, e.name, r.status, r.broken)
			}
			if texts := r.texts(t, e); len(texts) != want {
				t.Errorf("%s: %s: texts %q", text, e.name, texts)
			}
			got := r.scan(t, e)
			kind := refusals[7].kind[familyNumber[e.family()]]
			if !strings.Contains(got.failure, kind) {
				t.Errorf("%s: %s: failure %q", text, e.name, got.failure)
			}
			if strings.Contains(r.body, "[DONE]") || strings.Contains(r.body, "message_stop") || strings.Contains(r.body, "response.completed") {
				t.Errorf("%s: %s: the stream ends as if it were whole: %s", text, e.name, r.body)
			}
		}
	}
}

// OpenAI reports the error, and then that the response has failed.
func TestAResponseThatFailsSaysSo(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "error_event 2")})
	e := streamed[4]
	events := ask(t, base, e).events(t, e)
	for i, data := range events {
		if got := decode[struct {
			Sequence int `json:"sequence_number"`
		}](t, data); got.Sequence != i {
			t.Errorf("event %d has number %d", i, got.Sequence)
		}
	}
	last := decode[struct {
		Type     string
		Response struct {
			Status string
			Error  struct{ Code, Message string }
		}
	}](t, events[len(events)-1])
	if last.Type != "response.failed" || last.Response.Status != "failed" || last.Response.Error.Code != "server_is_overloaded" {
		t.Errorf("%+v", last)
	}
}

// Google writes an error into its stream as it is, without a field's name.
func TestAnErrorInGeminisEventsIsBare(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "error_event 1")})
	r := ask(t, base, streamed[6])
	if !strings.Contains(r.body, "\r\n\r\n{\"error\":") {
		t.Errorf("%q", r.body)
	}
}

func TestAnErrorEventRefusesAnAnswerThatComesWhole(t *testing.T) {
	base := serve(t, simulator.Options{Fault: fault(t, "error_event 2")})
	for _, e := range whole {
		if r := ask(t, base, e); r.status != refusals[7].status[familyNumber[e.family()]] {
			t.Errorf("%s: status %d", e.name, r.status)
		}
	}
}

// A list of models is not what is generated, so what breaks or delays that
// leaves it alone.
func TestAListOfModelsIsStruckByRefusalsOnly(t *testing.T) {
	for text, want := range map[string]int{"cut 0": 200, "malformed 0": 200, "error_event": 200, "no_terminator": 200, "quota": 429} {
		base := serve(t, simulator.Options{Fault: fault(t, text)})
		req, err := newGet(t, base+"/v1/models")
		if err != nil {
			t.Fatal(err)
		}
		if r, err := send(t, req); err != nil || r.status != want || !json.Valid([]byte(r.body)) {
			t.Errorf("%s: status %d, %v, %s", text, r.status, err, r.body)
		}
	}
}
