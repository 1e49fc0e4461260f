// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/handler/ledger"
	"github.com/seed83435595/caddy-llm-proxy/handler/pricing"
	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/events"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// account is what is written down about one call.
type account struct {
	logger *zap.Logger
	events *events.Emitter
	call   *streaming.Call
	client string
	// metadata are what operators want to know of the client.
	metadata metadata
	// counted are the names of metadata by which calls count in metrics; none
	// where no client is known.
	counted []string
	// ledgers are held until the call is written down in them, if it is kept.
	ledgers []*ledger.Writer
	kept    bool

	// charged says that the call came to something that is paid for. cost is
	// what that is, or the part of it that is known if costUnknown.
	charged, costUnknown bool
	cost                 pricing.Cost
	// reason is why the key or token was refused, in a word.
	reason string
	// known says that the config names the client or a store does, and not only
	// somebody who vouches for it; configured, that the config does.
	known, configured bool
	// understood says that the request's body has been read.
	understood bool
	// admitted says that the call was handed on.
	admitted bool
	quota    quota
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
// the handlers behind by a panic.
func (a *account) settle(r *http.Request, prices *pricing.Table) {
	a.call.Close()
	if a.call.Outcome == "" {
		a.call.Outcome = streaming.OutcomeError
	}
	a.charge(prices)
	a.quota.settle(a.call, a.cost)
	a.observe()
	a.keep()
	a.tellOfBreak()
	a.trace(r.Context())
	// One field that writes the others itself costs nothing where nobody logs,
	// and the access log copies its list with each that is added.
	fields := zap.Field{Key: "llm", Type: zapcore.InlineMarshalerType, Interface: a}
	if access := accessLog(r); access != nil {
		access.Set(fields)
	}
	if c := a.logger.Check(a.level(), "call"); c != nil {
		c.Write(fields,
			zap.Int("status", a.call.Status),
			zap.Duration("duration", time.Since(a.call.Started)),
		)
	}
}

// charge finds out what the call cost.
func (a *account) charge(prices *pricing.Table) {
	call := a.call
	if call.Request == nil || !call.Request.Operation.Paid() {
		return
	}
	if (call.Status < 200 || call.Status > 299) && call.Status != http.StatusSwitchingProtocols {
		return
	}
	a.charged = true
	cost, known := prices.Cost(pricing.Call{
		Provider:    call.Provider,
		Service:     call.Service,
		Model:       call.TargetModel,
		Answered:    call.Result.Model,
		ServiceTier: call.Result.ServiceTier,
		Order:       call.Request.Order,
		Usage:       call.Result.Usage,
	})
	a.cost, a.costUnknown = cost, !known
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

// MarshalLogObject tells who called, what for, over which attempts, and how it
// ended.
func (a *account) MarshalLogObject(log zapcore.ObjectEncoder) error {
	call := a.call
	log.AddString("request_id", call.ID)
	log.AddString("llm_outcome", string(call.Outcome))
	if call.Refusal != "" {
		log.AddString("llm_code", call.Refusal)
	}
	if a.reason != "" {
		log.AddString("llm_auth_reason", a.reason)
	}
	if a.client != "" {
		log.AddString("llm_client", a.client)
	}
	if len(a.metadata) > 0 {
		if err := log.AddObject("llm_client_metadata", a.metadata); err != nil {
			return err
		}
	}
	if a.quota.exceeded != nil {
		log.AddString("llm_limit", limitWords(a.quota.exceeded))
	}
	if call.Request != nil {
		log.AddString("llm_operation", call.Request.Operation.Name)
		if call.Request.Model != "" {
			log.AddString("llm_model", call.Request.Model)
		}
		// What a body says of it is not known before it has been read.
		if call.Request.Stream || a.understood {
			log.AddBool("llm_stream", call.Request.Stream)
		}
	}
	if len(call.Attempts) > 0 {
		log.AddString("llm_provider", call.Provider)
		log.AddString("llm_key", call.KeyID)
		if err := log.AddArray("llm_attempts", attempts(call.Attempts)); err != nil {
			return err
		}
	}
	a.logAnswer(log)
	return nil
}

// logAnswer tells what was read along the answer. What was not stated is left
// out, rather than shown as nothing.
func (a *account) logAnswer(log zapcore.ObjectEncoder) {
	result := &a.call.Result
	if result.Model != "" {
		log.AddString("llm_model_answered", result.Model)
	}
	if result.Finish != "" {
		log.AddString("llm_finish", result.Finish)
	}
	if result.FinishReason != "" {
		log.AddString("llm_finish_reason", result.FinishReason)
	}
	if a.call.Cause != nil {
		log.AddString("llm_cause", a.call.Cause.Error())
	}
	if result.Events > 0 {
		log.AddInt("llm_events", result.Events)
	}
	if a.call.FirstToken > 0 {
		log.AddFloat64("llm_first_token_ms", milliseconds(a.call.FirstToken))
	}
	if each, known := a.call.PerToken(); known {
		log.AddFloat64("llm_per_token_ms", milliseconds(each))
	}
	if result.Usage.StatedTokens() {
		log.AddInt64("llm_input_tokens", result.Usage.InputTotal())
		log.AddInt64("llm_output_tokens", result.Usage.OutputTotal())
		log.AddInt64("llm_cache_read_tokens", result.Usage.CacheRead)
		if result.Estimated {
			log.AddBool("llm_usage_estimated", true)
		}
	}
	if a.charged && (!a.costUnknown || a.cost > 0) {
		log.AddFloat64("llm_cost", a.cost.USD())
	}
	if a.costUnknown {
		log.AddBool("llm_cost_unknown", true)
	}
}

// attempts are logged each as a text.
type attempts []streaming.Attempt

// MarshalLogArray writes the attempts.
func (list attempts) MarshalLogArray(log zapcore.ArrayEncoder) error {
	for _, attempt := range list {
		log.AppendString(attempt.String())
	}
	return nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
