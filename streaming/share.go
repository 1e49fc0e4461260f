// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/keypool/shared"
)

// sharers holds what tells other instances of keys, by its store. Transports of
// all configs share it, so that a reload interrupts nothing.
var sharers = caddy.NewUsagePool()

// shareState begins to share what is known of the providers' keys with the
// other instances that use the same Redis. The network is not asked here.
func (t *Transport) shareState() error {
	if t.Redis == nil {
		return nil
	}
	opened, closeStore, err := t.Redis.Open()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	pooled, _, err := sharers.LoadOrNew(opened, func() (caddy.Destructor, error) {
		return shared.Start(shared.Options{Store: opened, Report: tellOfSharing, Heard: tellOfHearsay})
	})
	if err != nil {
		return errors.Join(fmt.Errorf("redis: %w", err), closeStore())
	}
	sharer := pooled.(*shared.Sharer)
	var sources []*shared.Source
	for _, p := range t.Providers {
		source := &shared.Source{
			Provider: p.Name, Place: p.sharedPlace(), Keyless: p.keyless, Pool: p.pool.Load, Pins: p.stored.Pins,
		}
		sharer.Add(source)
		sources = append(sources, source)
	}
	t.unshare = func() error {
		for _, source := range sources {
			sharer.Remove(source)
		}
		_, err := sharers.Delete(opened)
		return errors.Join(err, closeStore())
	}
	return nil
}

// sharedPlace returns what stands for where the provider is; "" for what each machine
// has for itself.
func (p *Provider) sharedPlace() string {
	host := p.base.Hostname()
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback() {
		return ""
	}
	return keypool.Fingerprint(p.base.String())
}

// unshareState ends that.
func (t *Transport) unshareState() error {
	if t.unshare == nil {
		return nil
	}
	unshare := t.unshare
	t.unshare = nil
	return unshare()
}

// tellOfSharing logs that Redis is there, but keys cannot be shared over it, or
// can again. The sharing may outlive the config that began it, so the logger is
// Caddy's own.
func tellOfSharing(cause error) {
	logger := caddy.Log().Named("llm.redis")
	if cause == nil {
		logger.Info("what is known of keys is shared again")
		return
	}
	logger.Warn("what is known of keys cannot be shared: each instance goes by what it knows itself", zap.Error(cause))
}

// tellOfHearsay logs what another instance has told. The one that found it out
// has told operators.
func tellOfHearsay(provider, key string, f keypool.Fact) {
	if c := caddy.Log().Named("llm.redis").Check(zapcore.DebugLevel, "another instance tells of a key or a provider"); c != nil {
		c.Write(
			zap.String("provider", provider), zap.String("key_fingerprint", key), zap.String("model", f.Model),
			zap.Stringer("kind", f.Kind), zap.Stringer("class", f.Class), zap.Time("until", f.Until),
		)
	}
}
