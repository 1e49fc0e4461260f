// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// notices says what each kind of notice is called as an event, and how it is
// logged.
var notices = map[keypool.NoticeKind]struct {
	event, message string
	level          zapcore.Level
}{
	keypool.KeyCooled:    {"llm_key_cooled", "a key rests", zapcore.InfoLevel},
	keypool.KeyDisabled:  {"llm_key_disabled", "a key is out of use", zapcore.WarnLevel},
	keypool.KeyRecovered: {"llm_key_recovered", "a key is back", zapcore.InfoLevel},
	keypool.UpstreamDown: {"llm_upstream_down", "a provider is left alone", zapcore.WarnLevel},
	keypool.UpstreamUp:   {"llm_upstream_up", "a provider is back", zapcore.InfoLevel},
}

// notifier returns what tells operators of a provider's notices: in the log,
// and by Caddy's events.
func (t *Transport) notifier(provider string) func(keypool.Notice) {
	return func(n keypool.Notice) {
		kind := notices[n.Kind]
		data := map[string]any{"provider": provider}
		fields := []zap.Field{zap.String("provider", provider)}
		tell := func(name, value string) {
			if value != "" {
				data[name] = value
				fields = append(fields, zap.String(name, value))
			}
		}
		tell("key", n.KeyID)
		tell("model", n.Model)
		if n.Class != keypool.ClassOK {
			tell("class", n.Class.String())
		}
		if !n.Until.IsZero() && !n.Until.Equal(keypool.Never) {
			tell("until", n.Until.UTC().Format(time.RFC3339))
		}
		if c := t.logger.Check(kind.level, kind.message); c != nil {
			c.Write(fields...)
		}
		t.events.Emit(kind.event, data)
	}
}
