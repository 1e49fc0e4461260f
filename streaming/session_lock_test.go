// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"io"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// What a session's end means for its key is logged when nobody can be kept
// waiting by that.
func TestSessionLogsWithoutItsLock(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}}); err == nil {
			conn.Close(3000, "invalid_request_error.invalid_api_key")
		}
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	res, call := shake(t, tr, realtimePath)
	s := res.Body.(*session)
	core, logs := observer.New(zapcore.InfoLevel)
	tr.logger = zap.New(core, zap.Hooks(func(entry zapcore.Entry) error {
		if !s.mu.TryLock() {
			t.Errorf("%q is logged under the lock", entry.Message)
			return nil
		}
		s.mu.Unlock()
		return nil
	}))
	_, _ = io.Copy(io.Discard, s)
	call.Close()
	if logs.FilterMessage("a key is out of use").Len() != 1 {
		t.Errorf("logged %v", logs.All())
	}
}
