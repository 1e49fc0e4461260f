// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

const (
	// other stands for values of a label that have no series of their own.
	other = "_other"
	// maxRows is how many combinations of operation, provider and model have
	// series of their own because a provider has answered for the model.
	// Clients name models, and some providers answer to any name.
	maxRows = 300
	// maxConfigured is the same for models that the config itself names: so
	// that what clients invent takes no room from them.
	maxConfigured = 1000
	// maxModelName is the longest name of a model that is a label, in bytes.
	maxModelName = 128
	// unlimited is for what the config and this program bound.
	unlimited = 1 << 30
)

// The buckets that OpenTelemetry recommends.
var (
	tokenBuckets      = prometheus.ExponentialBuckets(1, 4, 14)
	durationBuckets   = prometheus.ExponentialBuckets(0.01, 2, 14)
	firstTokenBuckets = []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	perTokenBuckets   = []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
	// streamBuckets are for streams, which may last for minutes.
	streamBuckets = prometheus.ExponentialBuckets(0.1, 2, 14)
)

func (m *Metrics) makeCalls() {
	genAI := []string{"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}
	m.tokenUsage = m.histogram("gen_ai_client_token_usage",
		"Input and output tokens of calls, cached input and reasoning included.", tokenBuckets, append(genAI, "gen_ai_token_type")...)
	m.duration = m.histogram("gen_ai_server_request_duration_seconds",
		"Time from the arrival of a request to the end of its answer, over all attempts.", durationBuckets, append(genAI, "error_type")...)
	m.firstToken = m.histogram("gen_ai_server_time_to_first_token_seconds",
		"Time from the arrival of a request for a stream to the first generated event, over all attempts.", firstTokenBuckets, genAI...)
	m.perToken = m.histogram("gen_ai_server_time_per_output_token_seconds",
		"Time per output token after the first, of streams that came whole.", perTokenBuckets, genAI...)

	m.calls = m.counter("caddy_llm_calls_total", "Calls that are over, by how they ended.", "operation", "provider", "model", "outcome")
	m.tokens = m.counter("caddy_llm_tokens_total", "Tokens by kind. Input and output are totals, the other kinds parts of them.", "provider", "model", "kind")
	m.cost = m.counter("caddy_llm_cost_dollars_total", "What calls have cost, in US dollars, where it is known.", "provider", "model")
	m.unpriced = m.counter("caddy_llm_unpriced_calls_total", "Calls that are paid for, but of which not all of the price is known.", "provider", "model")
	m.streams = m.counter("caddy_llm_streams_total", "Streams that had begun, by how they ended.", "provider", "model", "outcome")
	m.streamEvents = m.counter("caddy_llm_stream_events_total", "Events of streams.", "provider", "model")
	m.streamDuration = m.histogram("caddy_llm_stream_duration_seconds",
		"Time from the first generated event of a stream to its end.", streamBuckets, "provider", "model")
	m.callsInFlight = m.gauge("caddy_llm_calls_in_flight", "Calls that were admitted and are not over.")
	m.streamsInFlight = m.gauge("caddy_llm_streams_in_flight", "Those of them that asked for a stream.")
}

// rowKey says what a call was about.
type rowKey struct{ operation, provider, model string }

// row is the series of one combination.
type row struct {
	rowKey
	metrics *Metrics
	// genAI is the operation in OpenTelemetry's word.
	genAI string

	calls                                [len(outcomes)]child[prometheus.Counter]
	duration                             [len(outcomes)]child[prometheus.Observer]
	inputUsage, outputUsage              child[prometheus.Observer]
	firstToken, perToken, streamDuration child[prometheus.Observer]
	tokens                               [len(kindNames)]child[prometheus.Counter]
	streams                              [len(streamEnds)]child[prometheus.Counter]
	events, cost, unpriced               child[prometheus.Counter]
}

// rowOf returns the row of a call. The model has one of its own if the config
// names it, or a provider has answered for it.
func (m *Metrics) rowOf(call *streaming.Call) *row {
	key := rowKey{provider: call.Provider, model: call.TargetModel}
	if call.Request != nil {
		key.operation = call.Request.Operation.Name
	}
	if row, ok := m.rows.find(key); ok {
		return row
	}
	most := 0
	switch {
	case key.model == "":
		most = unlimited
	case len(key.model) > maxModelName || !utf8.ValidString(key.model):
	case call.ModelConfigured:
		most = maxConfigured
	case answered(call):
		most = maxRows
	}
	others := key
	others.model = other
	return m.rows.choose(key, most, others, rowKey.clone, m.newRow)
}

// clone lets go of the request that the model's name is a part of.
func (k rowKey) clone() rowKey {
	k.model = strings.Clone(k.model)
	return k
}

// answered reports whether the provider has given an answer that was no error,
// or has taken up a session.
func answered(call *streaming.Call) bool {
	ok := call.Status >= 200 && call.Status < 300 || call.Status == http.StatusSwitchingProtocols
	return ok && call.Provider != ""
}

func (m *Metrics) newRow(key rowKey) *row {
	return &row{rowKey: key, metrics: m, genAI: GenAIOperation(key.operation)}
}

// GenAIOperation returns OpenTelemetry's word for an operation.
func GenAIOperation(name string) string {
	_, what, _ := strings.Cut(name, ".")
	switch what {
	case "chat", "messages", "responses", "converse", "converse_stream", "generation", "interactions":
		return "chat"
	case "completions", "complete":
		return "text_completion"
	case "generate", "stream":
		return "generate_content"
	case "embeddings", "embedding", "embed":
		return "embeddings"
	}
	return name
}

// kindNames are the kinds of tokens.
var kindNames = [...]string{"input", "output", "cache_read", "cache_write", "reasoning", "audio_input", "audio_output"}

// kinds returns the tokens of an answer in the order of kindNames.
func kinds(u *wire.Usage) [len(kindNames)]int64 {
	return [...]int64{u.InputTotal(), u.OutputTotal(), u.CacheRead, u.CacheWrite, u.Reasoning, u.AudioInput, u.AudioOutput}
}
