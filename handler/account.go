// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// account is what is written down about one call.
type account struct {
	logger *zap.Logger
	call   *streaming.Call
	client string
}

// settle closes the account. It runs deferred, since a broken answer leaves
// reverse_proxy by a panic.
func (a *account) settle(r *http.Request) {
	a.call.Close()
	if a.call.Outcome == "" {
		a.call.Outcome = streaming.OutcomeError
	}
	line := a.logger.Check(a.level(), "call")
	access := accessLog(r)
	if line == nil && access == nil {
		return
	}
	fields := a.fields()
	if access != nil {
		for _, field := range fields {
			access.Set(field)
		}
	}
	if line != nil {
		line.Write(append(fields,
			zap.String("request_id", a.call.ID),
			zap.Int("status", a.call.Status),
			zap.Duration("duration", time.Since(a.call.Started)),
		)...)
	}
}

// accessLog returns where fields of the access log go; nil if none is kept.
func accessLog(r *http.Request) *caddyhttp.ExtraLogFields {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok && server.Logs == nil {
		return nil
	}
	fields, _ := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	return fields
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

// fields tells who called, what for, over which attempts, and how it ended.
func (a *account) fields() []zap.Field {
	call := a.call
	fields := make([]zap.Field, 0, 20)
	fields = append(fields, zap.String("llm_outcome", string(call.Outcome)))
	if a.client != "" {
		fields = append(fields, zap.String("llm_client", a.client))
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
	return appendAnswer(fields, call)
}

// appendAnswer tells what was read along the answer. What was not stated is
// left out, rather than shown as nothing.
func appendAnswer(fields []zap.Field, call *streaming.Call) []zap.Field {
	result := call.Result
	if result.Model != "" {
		fields = append(fields, zap.String("llm_model_answered", result.Model))
	}
	if result.Finish != "" {
		fields = append(fields, zap.String("llm_finish", result.Finish))
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
	}
	return fields
}

// attemptWords spells each attempt as key:class:milliseconds.
func attemptWords(attempts []streaming.Attempt) []string {
	words := make([]string, len(attempts))
	for i, attempt := range attempts {
		words[i] = attempt.KeyID + ":" + attempt.Verdict.Class.String() + ":" + strconv.FormatInt(attempt.Duration.Milliseconds(), 10)
	}
	return words
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
