// SPDX-License-Identifier: Apache-2.0

package redisconf

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// connections are those that are open. Handlers and transports that mean the
// same Redis share them, also over reloads.
var connections = caddy.NewUsagePool()

func init() {
	redis.SetLogger(redisLogger{})
}

// redisLogger takes what the library has to say, which would go to stderr: the
// same failures come back as errors.
type redisLogger struct{}

// Printf logs a message.
func (redisLogger) Printf(_ context.Context, format string, v ...any) {
	caddy.Log().Named("llm.redis").Debug(fmt.Sprintf(format, v...))
}

// Open returns the store that r means, and what closes it again, which must be
// called once. The network is not asked.
func (r *Redis) Open() (*store.Store, func() error, error) {
	options, err := r.options()
	if err != nil {
		return nil, nil, err
	}
	text, err := r.name(options)
	if err != nil {
		return nil, nil, err
	}
	name := sha256.Sum256([]byte(text))
	shared, _, err := connections.LoadOrNew(name, func() (caddy.Destructor, error) {
		options.Changed = tell
		return store.Open(options)
	})
	if err != nil {
		return nil, nil, err
	}
	return shared.(*store.Store), func() error {
		_, err := connections.Delete(name)
		return err
	}, nil
}

// Name tells r from another Redis, also if only a secret differs: it holds
// what the placeholders stand for, and must not be shown.
func (r *Redis) Name() (string, error) {
	options, err := r.options()
	if err != nil {
		return "", err
	}
	return r.name(options)
}

func (r *Redis) name(o store.Options) (string, error) {
	text, err := json.Marshal([]any{
		r, o.Addresses, o.Master, o.Username, o.Password.Reveal(), o.SentinelUsername, o.SentinelPassword.Reveal(), o.DB, o.Prefix,
	})
	if err != nil {
		return "", fmt.Errorf("naming the connection: %w", err)
	}
	return string(text), nil
}

// tell logs that Redis is away, or back. The connection may outlive the
// config that opened it, so its logger is Caddy's own.
func tell(cause error) {
	logger := caddy.Log().Named("llm.redis")
	if cause == nil {
		logger.Info("redis is back")
		return
	}
	logger.Warn("redis is away: each instance goes by what it knows itself", zap.Error(cause))
}
