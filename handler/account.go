// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// account is what is written down about one call.
type account struct {
	logger *zap.Logger
	repl   *caddy.Replacer
	call   *streaming.Call
	client string
	quota  quota
}

// family is the shape in which the client expects errors. A path that belongs
// to no family gets the one that most clients understand.
func (a *account) family() *wire.Family {
	if a.call.Request != nil {
		return a.call.Request.Family
	}
	family, _ := wire.Lookup("openai")
	return family
}

// settle closes the account. It runs deferred, since a broken answer leaves
// reverse_proxy by a panic.
func (a *account) settle(r *http.Request) {
	a.call.Close()
	if a.call.Outcome == "" {
		a.call.Outcome = streaming.OutcomeError
	}
	a.quota.settle(a.call)
	a.setPlaceholders()
	fields := a.fields()
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		for _, field := range fields {
			extra.Set(field)
		}
	}
	if c := a.logger.Check(a.level(), "call"); c != nil {
		c.Write(append(fields,
			zap.String("request_id", a.call.ID),
			zap.Int("status", a.call.Status),
			zap.Duration("duration", time.Since(a.call.Started)),
		)...)
	}
}

// level makes what an operator should look into stand out.
func (a *account) level() zapcore.Level {
	switch a.call.Outcome {
	case streaming.OutcomeBroken, streaming.OutcomeExhausted:
		return zapcore.WarnLevel
	default:
		return zapcore.InfoLevel
	}
}

func (a *account) setPlaceholders() {
	call := a.call
	usage := call.Result.Usage
	a.repl.Set("llm.provider", call.Provider)
	a.repl.Set("llm.key.id", call.KeyID)
	a.repl.Set("llm.attempts", len(call.Attempts))
	a.repl.Set("llm.usage.input", usage.InputTotal())
	a.repl.Set("llm.usage.output", usage.OutputTotal())
	a.repl.Set("llm.first_token_ms", milliseconds(call.FirstToken))
	a.repl.Set("llm.outcome", string(call.Outcome))
}

// fields tells who called, what for, over which attempts, and how it ended.
func (a *account) fields() []zap.Field {
	call := a.call
	fields := make([]zap.Field, 0, 20)
	fields = append(fields, zap.String("llm_outcome", string(call.Outcome)))
	if a.client != "" {
		fields = append(fields, zap.String("llm_client", a.client))
	}
	if a.quota.exceeded != nil {
		fields = append(fields, zap.String("llm_limit", ruleWords(a.quota.exceeded.Rule)))
	}
	if call.Request != nil {
		fields = append(fields,
			zap.String("llm_operation", call.Request.Operation.Name),
			zap.String("llm_model", call.Request.Model),
			zap.Bool("llm_stream", call.Request.Stream),
		)
	}
	if len(call.Attempts) > 0 {
		fields = append(fields,
			zap.String("llm_provider", call.Provider),
			zap.String("llm_key", call.KeyID),
			zap.Strings("llm_attempts", attemptWords(call.Attempts)),
		)
	}
	return append(fields, answerFields(call)...)
}

// answerFields tells what was read along the answer. What was not stated is
// left out, rather than shown as nothing.
func answerFields(call *streaming.Call) []zap.Field {
	var fields []zap.Field
	result := call.Result
	if result.Model != "" {
		fields = append(fields, zap.String("llm_model_answered", result.Model))
	}
	if result.Finish != "" {
		fields = append(fields, zap.String("llm_finish", result.Finish))
	}
	if call.Cause != nil {
		fields = append(fields, zap.String("llm_cause", call.Cause.Error()))
	}
	if result.Events > 0 {
		fields = append(fields, zap.Int("llm_events", result.Events))
	}
	if call.FirstToken > 0 {
		fields = append(fields, zap.Float64("llm_first_token_ms", milliseconds(call.FirstToken)))
	}
	if result.Usage.Stated() {
		fields = append(fields,
			zap.Int64("llm_input_tokens", result.Usage.InputTotal()),
			zap.Int64("llm_output_tokens", result.Usage.OutputTotal()),
			zap.Int64("llm_cache_read_tokens", result.Usage.CacheRead),
		)
		if result.Estimated {
			fields = append(fields, zap.Bool("llm_usage_estimated", true))
		}
	}
	return fields
}

// attemptWords spells each attempt as key:class:milliseconds.
func attemptWords(attempts []streaming.Attempt) []string {
	words := make([]string, len(attempts))
	for i, attempt := range attempts {
		words[i] = fmt.Sprintf("%s:%s:%d", attempt.KeyID, attempt.Verdict.Class, attempt.Duration.Milliseconds())
	}
	return words
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
