// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

// statsOf asks how often the simulator was asked.
func statsOf(t *testing.T, base string) (simulator.Stats, string) {
	t.Helper()
	req, err := newGet(t, base+"/simulator/stats")
	if err != nil {
		t.Fatal(err)
	}
	r, err := send(t, req)
	if err != nil || r.status != 200 {
		t.Fatalf("status %d, %v", r.status, err)
	}
	return decode[simulator.Stats](t, r.body), r.body
}

func TestStatsCountEveryCallByKeyAndModel(t *testing.T) {
	base := serve(t, simulator.Options{
		Keys:  []simulator.Key{{Secret: "good"}, {Secret: "poor", Fault: fault(t, "quota")}},
		Rules: []simulator.Rule{{Match: "lost", Fault: fault(t, "reset")}},
	})
	for _, call := range []struct{ key, model string }{
		{"good", "m-1"}, {"good", "m-1"}, {"good", "lost"}, {"poor", "m-2"}, {"bad", "m-2"}, {"", "m-3"},
	} {
		req := whole[0].with(call.model).request(t, base)
		req.Header.Set("X-Api-Key", call.key)
		_, _ = send(t, req)
	}
	if list, err := newGet(t, base+"/v1/models"); err == nil {
		list.Header.Set("X-Api-Key", "good")
		_, _ = send(t, list)
	}
	got, text := statsOf(t, base)
	keys := map[string]int{}
	for secret, n := range map[string]int{"good": 4, "poor": 1, "bad": 1, "": 1} {
		keys[simulator.Fingerprint(secret)] = n
	}
	if !maps.Equal(got.Keys, keys) {
		t.Errorf("keys %v, want %v", got.Keys, keys)
	}
	if want := map[string]int{"m-1": 2, "lost": 1, "m-2": 2, "m-3": 1}; !maps.Equal(got.Models, want) {
		t.Errorf("models %v, want %v", got.Models, want)
	}
	if strings.Contains(text, "good") || strings.Contains(text, "poor") {
		t.Errorf("a secret in %s", text)
	}
	if again, _ := statsOf(t, base); !maps.Equal(again.Keys, got.Keys) {
		t.Errorf("asking for stats counted: %v", again.Keys)
	}
}

func TestAFingerprintIsTheBeginningOfTheSHA256(t *testing.T) {
	if got := simulator.Fingerprint(""); got != "e3b0c442" {
		t.Errorf("got %s", got)
	}
}

func TestStatsOfASimulatorThatNobodyAskedAreEmpty(t *testing.T) {
	if _, text := statsOf(t, serve(t, simulator.Options{})); text != `{"keys":{},"models":{}}` {
		t.Errorf("got %s", text)
	}
}

func TestStatsStayBoundedWhateverIsAsked(t *testing.T) {
	s := simulator.New(simulator.Options{Chunks: 1})
	call := func(model string) {
		body := strings.NewReader(`{"model":"` + model + `"}`)
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/chat/completions", body))
	}
	call(strings.Repeat("ü", 1000))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 300 {
				call(fmt.Sprintf("m-%d-%d", worker, i))
			}
		})
	}
	wg.Wait()
	got := s.Stats()
	if len(got.Models) != 1000 || got.Models[strings.Repeat("ü", 64)] != 1 {
		t.Errorf("%d models", len(got.Models))
	}
}
