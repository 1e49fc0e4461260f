// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// unserved ends a call for which a handler behind us has returned an error. If
// nothing was written yet, it is answered here, in the shape that the client's
// SDK understands: Caddy would answer with a status alone.
func (a *account) unserved(w http.ResponseWriter, r *http.Request, err error) error {
	if a.call.Outcome == "" {
		a.call.Outcome = streaming.OutcomeError
	}
	if a.call.Status != 0 || r.Context().Err() != nil {
		return err
	}
	status := http.StatusInternalServerError
	var known caddyhttp.HandlerError
	if errors.As(err, &known) && known.StatusCode >= http.StatusBadRequest {
		status = known.StatusCode
	}
	a.logger.Error("a handler behind llm_proxy has failed", zap.String("request_id", a.call.ID), zap.Int("status", status), zap.Error(err))
	f := refuse(status, "not_served", strings.TrimSuffix("the gateway could not serve this call: "+http.StatusText(status), ": "))
	a.call.Status, a.call.Refusal = f.Status, f.Code
	return f.write(w, a.family(), a.call.ID)
}
