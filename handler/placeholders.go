// SPDX-License-Identifier: Apache-2.0

package handler

import "strings"

// placeholder returns what a placeholder stands for at the moment. It is
// asked only where a config uses one; most never do, and then it costs
// nothing.
func (a *account) placeholder(name string) (any, bool) {
	const prefix = "llm."
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		return nil, false
	}
	call := a.call
	switch name[len(prefix):] {
	case "client.id":
		return a.client, true
	case "operation":
		if call.Request == nil {
			return "", true
		}
		return call.Request.Operation.Name, true
	case "model":
		if call.Request == nil {
			return "", true
		}
		return call.Request.Model, true
	case "provider":
		return call.Provider, true
	case "key.id":
		return call.KeyID, true
	case "attempts":
		return len(call.Attempts), true
	case "usage.input":
		return call.Result.Usage.InputTotal(), true
	case "usage.output":
		return call.Result.Usage.OutputTotal(), true
	case "cost":
		if !a.charged || a.costUnknown {
			return "", true
		}
		return a.cost.USD(), true
	case "first_token_ms":
		return milliseconds(call.FirstToken), true
	case "finish_reason":
		return call.Result.FinishReason, true
	case "outcome":
		return string(call.Outcome), true
	}
	if name, ok := strings.CutPrefix(name, "llm.client.metadata."); ok {
		return a.metadata[name], true
	}
	return nil, false
}
