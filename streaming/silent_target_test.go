// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// The last target may be silent for longer than first_token, but not for longer
// than idle. The client has got nothing by then, so that it gets an error with
// a status of its own, which says how far the provider came.
func TestSilentLastTargetIsGivenUpAfterIdle(t *testing.T) {
	for name, it := range map[string]struct {
		begin func(http.ResponseWriter)
		want  string
	}{
		"a head alone": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
		}, "sent the head of an answer and then nothing"},
		"a head and a beginning": {func(w http.ResponseWriter) { stream(w, roleChunk) }, "fell silent in the middle"},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
				it.begin(w)
				<-r.Context().Done()
			})
			const idle = 120 * time.Millisecond
			tr := provision(t, &Transport{
				Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
				Timeouts: Timeouts{FirstToken: caddy.Duration(20 * time.Millisecond), Idle: caddy.Duration(idle)},
			})
			began := time.Now()
			status, text, call := chat(t, tr, chatStreamBody)
			if status != http.StatusGatewayTimeout || !strings.Contains(text, "upstream_timeout") ||
				!strings.Contains(text, it.want) || !strings.Contains(text, "timeouts idle") {
				t.Errorf("got %d %s", status, text)
			}
			if took := time.Since(began); took < idle || len(up.requests()) != 1 {
				t.Errorf("given up after %s and %d requests", took, len(up.requests()))
			}
			if class := call.Attempts[0].Verdict.Class.String(); class != "slow" {
				t.Errorf("class %s", class)
			}
		})
	}
}
