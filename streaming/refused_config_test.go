// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A config that is provisioned and then dropped leaves the rules of the one in
// force as they are.
func TestDroppedConfigChangesNoRules(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 500, `{}`) })
	build := func(failures int) *Transport {
		return &Transport{
			Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: Retry{Attempts: -1}, Breaker: Breaker{Failures: failures},
		}
	}
	tr := provision(t, build(50))
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	dropped := build(1)
	if err := dropped.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := dropped.Cleanup(); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if status, text, call := chat(t, tr, chatBody); status != 500 || len(call.Attempts) != 1 {
			t.Errorf("call %d: got %d %s after %d attempts", i, status, text, len(call.Attempts))
		}
	}
}
