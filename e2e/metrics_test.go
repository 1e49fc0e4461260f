// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// scrape returns the metrics of the admin API, by name and labels.
func (g *gateway) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	status, text := g.send(t, "GET", "/metrics", "", "")
	if status != http.StatusOK {
		t.Fatalf("GET /metrics: %d %s", status, text)
	}
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("GET /metrics: %s: %v", line, err)
		}
		values[line[:at]] = value
	}
	return values
}

// checkValues compares what was scraped with what is wanted.
func checkValues(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for series, value := range want {
		if n, ok := got[series]; !ok || n != value {
			t.Errorf("%s: %v, want %v", series, n, value)
		}
	}
}

// reload loads a Caddyfile into the running Caddy, with the same ports.
func (g *gateway) reload(t *testing.T, caddyfile string) {
	t.Helper()
	if status, text := g.send(t, "POST", "/load", "text/caddyfile", expand(caddyfile, g.ports())); status != http.StatusOK {
		t.Fatalf("POST /load: %d %s", status, text)
	}
	http.DefaultClient.CloseIdleConnections() // the old servers close them, too
}

func (g *gateway) ports() []string {
	var ports []string
	for _, base := range []string{g.url, g.sim, g.admin} {
		ports = append(ports, base[strings.LastIndexByte(base, ':')+1:])
	}
	return ports
}

// Calls over three keys, of which one is limited and one rejected, show in the
// metrics with the right numbers; a reload goes on counting.
func TestMetrics(t *testing.T) {
	g := start(t, threeKeys)
	stream := strings.Replace(chatStreamBody, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	for range 3 {
		g.do(t, "POST", "/v1/chat/completions", chatBody)
		g.do(t, "POST", "/v1/chat/completions", stream)
	}
	stranger := g.newRequest(t, "POST", "/v1/chat/completions", chatBody)
	stranger.Header.Set("Authorization", "Bearer nobody")
	res, err := http.DefaultClient.Do(stranger)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, res)
	g.awaitCalls(t, 7)

	const model = `gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o"`
	want := map[string]float64{
		`caddy_llm_calls_total{model="gpt-4o",operation="openai.chat",outcome="ok",provider="openai"}`: 6,
		`caddy_llm_calls_total{model="",operation="openai.chat",outcome="refused",provider=""}`:        1,
		`caddy_llm_client_calls_total{client="app",outcome="ok"}`:                                      6,
		`caddy_llm_client_calls_total{client="_other",outcome="refused"}`:                              1,
		`caddy_llm_refusals_total{code="invalid_api_key"}`:                                             1,
		`caddy_llm_auth_failures_total{reason="wrong"}`:                                                1,
		`caddy_llm_attempts_total{class="ok",provider="openai"}`:                                       6,
		`caddy_llm_attempts_total{class="rate_limited",provider="openai"}`:                             1,
		`caddy_llm_attempts_total{class="credential",provider="openai"}`:                               1,
		`caddy_llm_retries_total{reason="rate_limited"}`:                                               1,
		`caddy_llm_retries_total{reason="credential"}`:                                                 1,
		`caddy_llm_retried_calls_total{result="success"}`:                                              1,
		`caddy_llm_streams_total{model="gpt-4o",outcome="ok",provider="openai"}`:                       3,
		`caddy_llm_calls_in_flight`:                                                                    0,
		`caddy_llm_streams_in_flight`:                                                                  0,
		`caddy_llm_admission_duration_seconds_count`:                                                   6,
		`gen_ai_server_request_duration_seconds_count{error_type="",` + model + `}`:                    6,
		`gen_ai_server_time_to_first_token_seconds_count{` + model + `}`:                               3,
		`gen_ai_server_time_per_output_token_seconds_count{` + model + `}`:                             3,
		`gen_ai_client_token_usage_count{` + model + `,gen_ai_token_type="output"}`:                    6,
		`caddy_llm_pool_keys{provider="openai"}`:                                                       3,
		`caddy_llm_pool_keys_available{provider="openai"}`:                                             2, // the limited one may serve other models
		`caddy_llm_key_available{key="invalid",provider="openai"}`:                                     0,
		`caddy_llm_key_resting_models{key="limited",provider="openai"}`:                                1,
		`caddy_llm_key_attempts_total{key="good",provider="openai"}`:                                   6,
		`caddy_llm_key_successes_total{key="good",provider="openai"}`:                                  6,
		`caddy_llm_key_consecutive_failures{key="invalid",provider="openai"}`:                          1,
		`caddy_llm_upstream_available{provider="openai",upstream="` + g.sim + `"}`:                     1,
	}
	checkValues(t, g.scrape(t), want)

	g.reload(t, strings.Replace(threeKeys, "client app CLIENT", "client app CLIENT\n\t\tmax_request_body 1MiB", 1))
	g.do(t, "POST", "/v1/chat/completions", chatBody)
	g.awaitCalls(t, 8)
	for series := range want {
		for _, counted := range []string{`caddy_llm_calls_total{model="gpt-4o"`, `client="app"`, `attempts_total{class="ok"`, `{key="good"`, "duration_seconds_count", `token_usage_count`} {
			if strings.Contains(series, counted) {
				want[series]++
				break
			}
		}
	}
	checkValues(t, g.scrape(t), want)
}

// A config that is refused leaves no trace in what operators see, and one that
// is taken replaces the pools.
func TestRefusedConfigShowsNowhere(t *testing.T) {
	g := start(t, threeKeys)
	other := strings.Replace(threeKeys, "provider openai http", "provider elsewhere http", 1)
	refused := other + "http://127.0.0.1:SIM/refused {\n\tllm_proxy {\n\t\tclients /nowhere/clients.json\n\t}\n}\n"
	if status, text := g.send(t, "POST", "/load", "text/caddyfile", expand(refused, g.ports())); status == http.StatusOK || !strings.Contains(text, "provision") {
		t.Fatalf("the config was not refused as it should: %d %s", status, text)
	}
	count := func(provider string) (n int) {
		for series := range g.scrape(t) {
			if strings.HasPrefix(series, "caddy_llm_key_available{") && strings.Contains(series, `"`+provider+`"`) {
				n++
			}
		}
		return n
	}
	if ours, theirs := count("openai"), count("elsewhere"); ours != 3 || theirs != 0 {
		t.Errorf("after a config was refused there are %d keys of ours and %d of its", ours, theirs)
	}
	g.reload(t, other)
	if ours, theirs := count("openai"), count("elsewhere"); ours != 0 || theirs != 3 {
		t.Errorf("after a reload there are %d keys of the old config and %d of the new", ours, theirs)
	}
}

// The start is measured: in the log and in the metrics, by component.
func TestStartIsMeasured(t *testing.T) {
	g := start(t, threeKeys)
	values := g.scrape(t)
	for _, component := range []string{"clients", "limits", "providers"} {
		if _, ok := values[`caddy_llm_startup_seconds{component="`+component+`"}`]; !ok {
			t.Errorf("nothing is said of how long %s took", component)
		}
	}
	ready, total := values["caddy_llm_startup_ready_seconds"], values["caddy_llm_startup_total_seconds"]
	if total <= 0 || ready < total || ready > 5 || values["caddy_llm_startup_parallel_efficiency"] <= 0 {
		t.Errorf("ready after %v s, of which %v s are ours", ready, total)
	}
	g.await(t, `"msg":"the gateway is ready"`)
}

// With Caddy's tracing in front, a request's span tells of the call in
// OpenTelemetry's words.
func TestSpans(t *testing.T) {
	traced := strings.Replace(threeKeys, "\tllm_proxy {", "\ttracing\n\tllm_proxy {", 1)
	g := start(t, traced, "OTEL_TRACES_EXPORTER=console", "OTEL_BSP_SCHEDULE_DELAY=20")
	g.do(t, "POST", "/v1/chat/completions", chatBody)
	for _, word := range []string{
		`"Key":"gen_ai.operation.name","Value":{"Type":"STRING","Value":"chat"}`,
		`"Key":"gen_ai.request.model","Value":{"Type":"STRING","Value":"gpt-4o"}`,
		`"Key":"gen_ai.usage.output_tokens","Value":{"Type":"INT64","Value":20}`,
		`"Key":"llm.key.id","Value":{"Type":"STRING","Value":"good"}`,
		`"Key":"llm.attempts","Value":{"Type":"INT64","Value":3}`,
	} {
		g.await(t, word)
	}
}

// A provider that answers to any name does not let clients make as many series
// as they like.
func TestInventedModelsHaveFewSeries(t *testing.T) {
	g := start(t, threeKeys)
	const models = 1000
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < models; i += 8 {
				g.do(t, "POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", fmt.Sprintf("invented-%d", i), 1))
			}
		})
	}
	wg.Wait()
	g.awaitCalls(t, models)
	named, calls := 0, 0.0
	for series, n := range g.scrape(t) {
		if strings.HasPrefix(series, "caddy_llm_calls_total{") {
			named, calls = named+1, calls+n
		}
	}
	if named > 302 || named < 100 || calls != models {
		t.Errorf("%d series of %v calls with %d models", named, calls, models)
	}
}
