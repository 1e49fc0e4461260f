// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed83435595/caddy-llm-proxy/handler/metrics"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// trace tells the request's span about the call, in OpenTelemetry's words. It
// does nothing where nobody traces: spans are made by the tracing handler of
// Caddy, which may stand in front.
func (a *account) trace(ctx context.Context) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	call, result := a.call, &a.call.Result
	attributes := []attribute.KeyValue{
		attribute.String("llm.outcome", string(call.Outcome)),
		attribute.Int("llm.attempts", len(call.Attempts)),
	}
	tell := func(name, value string) {
		if value != "" {
			attributes = append(attributes, attribute.String(name, value))
		}
	}
	if call.Request != nil {
		tell("gen_ai.operation.name", metrics.GenAIOperation(call.Request.Operation.Name))
		tell("gen_ai.request.model", call.Request.Model)
	}
	tell("gen_ai.provider.name", call.Provider)
	tell("gen_ai.response.model", result.Model)
	tell("llm.client.id", a.client)
	tell("llm.key.id", call.KeyID)
	if result.Finish != "" {
		attributes = append(attributes, attribute.StringSlice("gen_ai.response.finish_reasons", []string{result.Finish}))
	}
	if result.Usage.Stated() {
		attributes = append(attributes,
			attribute.Int64("gen_ai.usage.input_tokens", result.Usage.InputTotal()),
			attribute.Int64("gen_ai.usage.output_tokens", result.Usage.OutputTotal()),
		)
	}
	if call.FirstToken > 0 {
		attributes = append(attributes, attribute.Float64("llm.first_token_ms", milliseconds(call.FirstToken)))
	}
	if call.Outcome != streaming.OutcomeOK {
		tell("error.type", string(call.Outcome))
	}
	span.SetAttributes(attributes...)
}
