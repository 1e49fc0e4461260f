// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// answeredCall returns a stream that took two attempts and 4 s, of which the
// first token took 1 s. It had 20 tokens of input and 31 of output.
func answeredCall(t testing.TB) *streaming.Call {
	t.Helper()
	request, err := wire.Recognize(http.MethodPost, &url.URL{Path: "/v1/chat/completions"}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	request.Stream = true
	scan := wire.NewScanner(request.Operation, http.StatusOK, "application/json", "")
	scan.Write([]byte(`{"model":"gpt-4o-2024","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":20,"completion_tokens":31,"prompt_tokens_details":{"cached_tokens":8}}}`))
	scan.Close()
	result := scan.Result()
	if !result.Usage.Stated() {
		t.Fatal("the usage was not read")
	}
	return &streaming.Call{
		Request: request, Started: started, Provider: "openai", KeyID: "good", TargetModel: "gpt-4o",
		Attempts: []streaming.Attempt{
			{Provider: "openai", KeyID: "limited", Verdict: keypool.Verdict{Class: keypool.ClassRateLimited}},
			{Provider: "openai", KeyID: "good"},
		},
		Status: http.StatusOK, FirstToken: time.Second, LastToken: 4 * time.Second, Sent: 3 * time.Millisecond, Result: result, Outcome: streaming.OutcomeOK,
	}
}

func settled(call *streaming.Call) Settled {
	return Settled{Call: call, Client: "app", Cost: 0.25, Ended: started.Add(4 * time.Second)}
}

// A call is counted by what it was about, how it ended, and what it took.
func TestCallIsCounted(t *testing.T) {
	m := New()
	m.Settle(settled(answeredCall(t)))
	const labels = `gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o"`
	values := gather(t, m)
	for series, want := range map[string]float64{
		`caddy_llm_attempts_total{class="ok",provider="openai"}`:                                       1,
		`caddy_llm_attempts_total{class="rate_limited",provider="openai"}`:                             1,
		`caddy_llm_calls_total{model="gpt-4o",operation="openai.chat",outcome="ok",provider="openai"}`: 1,
		`caddy_llm_client_calls_total{client="app",outcome="ok"}`:                                      1,
		`caddy_llm_client_cost_dollars_total{client="app"}`:                                            0.25,
		`caddy_llm_client_tokens_total{client="app",kind="input"}`:                                     20,
		`caddy_llm_client_tokens_total{client="app",kind="output"}`:                                    31,
		`caddy_llm_cost_dollars_total{model="gpt-4o",provider="openai"}`:                               0.25,
		`caddy_llm_retried_calls_total{result="success"}`:                                              1,
		`caddy_llm_retries_total{reason="rate_limited"}`:                                               1,
		`caddy_llm_stream_events_total{model="gpt-4o",provider="openai"}`:                              1,
		`caddy_llm_streams_total{model="gpt-4o",outcome="ok",provider="openai"}`:                       1,
		`caddy_llm_tokens_total{kind="cache_read",model="gpt-4o",provider="openai"}`:                   8,
		`caddy_llm_tokens_total{kind="input",model="gpt-4o",provider="openai"}`:                        20,
		`caddy_llm_tokens_total{kind="output",model="gpt-4o",provider="openai"}`:                       31,
		`caddy_llm_calls_in_flight{}`:                                                                  0,
		`caddy_llm_streams_in_flight{}`:                                                                0,
		`gen_ai_client_token_usage{` + labels + `,gen_ai_token_type="input"}`:                          20,
		`gen_ai_client_token_usage{` + labels + `,gen_ai_token_type="output"}`:                         31,
		`gen_ai_server_request_duration_seconds{error_type="",` + labels + `}`:                         4,
		`gen_ai_server_time_to_first_token_seconds{` + labels + `}`:                                    1,
		`gen_ai_server_time_per_output_token_seconds{` + labels + `}`:                                  0.1,
		`caddy_llm_stream_duration_seconds{model="gpt-4o",provider="openai"}`:                          3,
		`caddy_llm_admission_duration_seconds{}`:                                                       0.003,
	} {
		if got, ok := values[series]; !ok || got < want*0.999 || got > want*1.001 {
			t.Errorf("%s: %v, want %v", series, got, want)
		}
		delete(values, series)
	}
	for series, value := range values {
		if value != 0 {
			t.Errorf("nothing was to be counted as %s", series)
		}
	}
}

// gather returns the sums of the histograms, and the values of what else there
// is, by name and labels.
func gather(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, pair := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", pair.GetName(), pair.GetValue()))
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetHistogram().GetSampleSum()
			values[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return values
}

// How a call that was tried again and a stream that had begun are counted, by
// how they ended.
func TestEndings(t *testing.T) {
	attempts := func(classes ...keypool.Class) (list []streaming.Attempt) {
		for _, class := range classes {
			list = append(list, streaming.Attempt{Provider: "openai", Verdict: keypool.Verdict{Class: class}})
		}
		return list
	}
	for name, test := range map[string]struct {
		outcome  streaming.Outcome
		attempts []streaming.Attempt
		result   string
		stream   string
	}{
		"at once":               {streaming.OutcomeOK, attempts(keypool.ClassOK), "", "ok"},
		"at the second attempt": {streaming.OutcomeOK, attempts(keypool.ClassUpstream, keypool.ClassOK), "success", "ok"},
		"taken up again":        {streaming.OutcomeOK, attempts(keypool.ClassBroken, keypool.ClassOK), "success", "rescued"},
		"broken":                {streaming.OutcomeBroken, attempts(keypool.ClassRateLimited, keypool.ClassBroken), "failure", "broken"},
		"exhausted":             {streaming.OutcomeExhausted, attempts(keypool.ClassRateLimited, keypool.ClassRateLimited), "failure", ""},
		"the client's fault":    {streaming.OutcomeError, attempts(keypool.ClassRateLimited, keypool.ClassCaller), "other", ""},
		"canceled":              {streaming.OutcomeCanceled, attempts(keypool.ClassReset, keypool.ClassCanceled), "other", "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			m := New()
			call := answeredCall(t)
			call.Outcome, call.Attempts = test.outcome, test.attempts
			if test.stream == "" {
				call.FirstToken = 0
			}
			m.Settle(settled(call))
			var results, streams []string
			for series := range gather(t, m) {
				if rest, ok := strings.CutPrefix(series, `caddy_llm_retried_calls_total{result="`); ok {
					results = append(results, strings.TrimSuffix(rest, `"}`))
				}
				if rest, ok := strings.CutPrefix(series, `caddy_llm_streams_total{model="gpt-4o",outcome="`); ok {
					streams = append(streams, strings.TrimSuffix(rest, `",provider="openai"}`))
				}
			}
			if strings.Join(results, " ") != test.result || strings.Join(streams, " ") != test.stream {
				t.Errorf("results %q, streams %q, want %q and %q", results, streams, test.result, test.stream)
			}
		})
	}
}

// Whatever clients invent, the number of series stays bounded, and what the
// config names is counted under its name all the same.
func TestInventedNamesAreBounded(t *testing.T) {
	m := New()
	settle := func(model, client string, change func(*streaming.Call)) {
		call := answeredCall(t)
		call.TargetModel = model
		change(call)
		s := settled(call)
		s.Client = client
		m.Settle(s)
	}
	unknown := func(call *streaming.Call) { call.Status, call.Outcome = http.StatusNotFound, streaming.OutcomeError }
	for i := range 10_000 {
		settle(fmt.Sprintf("nothing-%d", i), "", unknown)
	}
	if n := len(*m.rows.rows.Load()); n != 1 {
		t.Errorf("models that nobody knows have %d rows", n)
	}
	for i := range 10_000 {
		settle(fmt.Sprintf("invented-%d", i), fmt.Sprintf("client-%d", i), func(*streaming.Call) {})
	}
	settle(strings.Repeat("x", maxModelName+1), "", func(call *streaming.Call) { call.ModelConfigured = true })
	settle("\xff\n", "", func(call *streaming.Call) { call.ModelConfigured = true })
	settle("named", "app", func(call *streaming.Call) { unknown(call); call.ModelConfigured = true })
	if n := len(*m.rows.rows.Load()); n > maxRows+2 {
		t.Errorf("invented models have %d rows", n)
	}
	if n := len(*m.clients.rows.Load()); n > maxClients+1 {
		t.Errorf("clients have %d rows", n)
	}
	values := gather(t, m)
	if got := values[`caddy_llm_calls_total{model="named",operation="openai.chat",outcome="error",provider="openai"}`]; got != 1 {
		t.Errorf("a model that the config names was counted %v times", got)
	}
	total := 0.0
	for series, value := range values {
		if strings.HasPrefix(series, "caddy_llm_calls_total{") {
			total += value
		}
	}
	if total != 20_003 {
		t.Errorf("%v calls were counted of 20003", total)
	}
	if n := len(values); n > maxRows*20 {
		t.Errorf("there are %d series", n)
	}
}

// A model is named where a provider has taken up a session with it.
func TestSessionsNameTheirModel(t *testing.T) {
	m := New()
	session := answeredCall(t)
	session.Status, session.TargetModel = http.StatusSwitchingProtocols, "live"
	m.Settle(settled(session))
	if _, ok := m.rows.find(rowKey{"openai.chat", "openai", "live"}); !ok {
		t.Error("the model is not named")
	}
}

// Register may be called for each block of a config, and for each config; what
// was counted goes on.
func TestCountsSurviveConfigs(t *testing.T) {
	m := New()
	m.Settle(settled(answeredCall(t)))
	for range 2 {
		registry := prometheus.NewPedanticRegistry()
		for range 2 {
			if err := m.Register(registry); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Settle(settled(answeredCall(t)))
	if got := gather(t, m)[`caddy_llm_client_calls_total{client="app",outcome="ok"}`]; got != 2 {
		t.Errorf("counted %v calls of 2", got)
	}
	if err := m.Register(registryWith(t, New())); err == nil {
		t.Error("other metrics of the same names were taken for these")
	}
}

func registryWith(t *testing.T, m *Metrics) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	return registry
}

// Calls that end at the same time are all counted, also those that are the
// first of their kind.
func TestConcurrentCalls(t *testing.T) {
	m := New()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 40 {
				call := answeredCall(t)
				call.TargetModel = fmt.Sprintf("m%d", (i+j)%10)
				m.Settle(settled(call))
			}
		})
	}
	wg.Wait()
	total := 0.0
	for series, value := range gather(t, m) {
		if strings.HasPrefix(series, "caddy_llm_calls_total{") {
			total += value
		}
	}
	if total != 2000 {
		t.Errorf("%v calls were counted of 2000", total)
	}
}

// Counting a call allocates nothing, once its series are there.
func TestCountingAllocatesNothing(t *testing.T) {
	m := New()
	s := settled(answeredCall(t))
	count := func() {
		m.Begin(true)
		m.Settle(s)
		m.End(true)
		m.Refuse("invalid_api_key")
		m.FailAuth(AuthMissing)
		m.MeetLimit(LayerUser, "tokens", false)
	}
	count()
	if n := testing.AllocsPerRun(100, count); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSettle(b *testing.B) {
	m := New()
	s := settled(answeredCall(b))
	b.ReportAllocs()
	for b.Loop() {
		m.Settle(s)
	}
}
