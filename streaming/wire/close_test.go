// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// What a provider says when it closes a session tells of its keys what it
// would have said in an answer.
func TestCloseOfASessionIsJudged(t *testing.T) {
	for _, test := range []struct {
		code   int
		reason string
		want   keypool.Class
	}{
		{1011, "Internal error encountered.", keypool.ClassUpstream},
		{1011, "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: ht", keypool.ClassRateLimited},
		{1011, "Resource has been exhausted (e.g. check quota).", keypool.ClassRateLimited},
		{1013, "", keypool.ClassUpstream},
		{1013, "The model is overloaded", keypool.ClassOverloaded},
		{1007, "API key not valid. Please pass a valid API key.", keypool.ClassCredential},
		{1007, "Request contains an invalid argument.", keypool.ClassCaller},
		{1008, "models/none is not found for API version v1alpha, or is not supported for bidiGenerateContent.", keypool.ClassModel},
		{1008, "Policy", keypool.ClassCaller},
		{1009, "message too big", keypool.ClassCaller},
		{3000, "invalid_request_error.invalid_api_key", keypool.ClassCredential},
		{3000, "", keypool.ClassCredential},
		{4000, "invalid_request_error.model_not_found", keypool.ClassModel},
		{4000, "invalid_request_error.insufficient_quota. You exceeded", keypool.ClassQuota},
		{4429, "slow down", keypool.ClassRateLimited},
		{4500, "\xff\"", keypool.ClassUpstream},
	} {
		status, body := CloseAnswer(test.code, test.reason)
		if got := (&Request{Operation: geminiLive}).Judge(status, nil, body, time.Now()); got.Class != test.want {
			t.Errorf("%d %q: got %s, want %s", test.code, test.reason, got.Class, test.want)
		}
	}
}
