// SPDX-License-Identifier: Apache-2.0

// Package store speaks to the Redis that several instances of Caddy share.
//
// Nothing here may hold up a call: a store is opened without asking the
// network, every command has a short time, and after some have failed the
// others fail at once, until one that is let through shows that Redis is back.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

const (
	// defaultPrefix is what the names of all keys begin with.
	defaultPrefix = "caddy_llm"
	// defaultTimeout is how long a command may take.
	defaultTimeout = 250 * time.Millisecond
	// failures is how many commands in a row fail until Redis is taken for
	// away, and retryAfter how long until one is let through to see.
	failures   = 3
	retryAfter = time.Second
)

// Options say where Redis is.
type Options struct {
	// Addresses are host:port: of the server, of the nodes of a cluster, or of
	// the sentinels. At least one is needed.
	Addresses []string
	// Master is the name by which sentinels know the server.
	Master string
	// Cluster says that the addresses are nodes of a cluster. More than one
	// address without a Master say so, too.
	Cluster bool
	// Username and Password are for the server, the Sentinel ones for the
	// sentinels.
	Username, SentinelUsername string
	Password, SentinelPassword keypool.Secret
	// DB is the number of the database. A cluster has only 0.
	DB int
	// TLS is nil for a connection in the clear.
	TLS *tls.Config
	// Prefix is what the names of all keys begin with. Default: caddy_llm.
	Prefix string
	// Timeout is how long a command may take. Default: 250ms.
	Timeout time.Duration
	// Changed, if set, is told when Redis is taken for away, with the reason,
	// and with nil when it is back.
	Changed func(error)
}

// ErrAway is that Redis is not asked, because it has just failed.
var ErrAway = errors.New("redis is away")

// Store is a Redis. It is safe for concurrent use, and is closed when the last
// of those that hold it have let it go.
type Store struct {
	client  redis.UniversalClient
	name    string
	prefix  string
	timeout time.Duration
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	changed func(error)
	holders atomic.Int64
	// last is the latest failure.
	last atomic.Pointer[error]
}

// Open makes a store, held once. It does not ask the network.
func Open(o Options) (*Store, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("an address of Redis is needed")
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	s := &Store{prefix: o.Prefix, timeout: o.Timeout, changed: o.Changed}
	s.name = fmt.Sprintf("%s/%d/%s", strings.Join(o.Addresses, ","), o.DB, o.Prefix)
	s.holders.Store(1)
	s.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:       retryAfter,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		IsSuccessful:  func(err error) bool { return !unreachable(err) },
		IsExcluded:    func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: s.tell,
	})
	s.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: o.Addresses, MasterName: o.Master, IsClusterMode: o.Cluster, DB: o.DB,
		Username: o.Username, Password: o.Password.Reveal(),
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword.Reveal(),
		TLSConfig:    o.TLS,
		DialTimeout:  o.Timeout,
		ReadTimeout:  o.Timeout,
		WriteTimeout: o.Timeout,
		PoolTimeout:  o.Timeout,
		// Whoever asks knows better what to do instead than to ask again.
		MaxRetries:            -1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
	})
	s.client.AddHook(guard{s})
	return s, nil
}

// Client returns the client, whose commands fail with [ErrAway] as long as
// Redis is away.
func (s *Store) Client() redis.UniversalClient { return s.client }

// Name tells where the store is: its addresses, the database and the prefix of
// its keys.
func (s *Store) Name() string { return s.name }

// Timeout is how long a command may take, for the context of one.
func (s *Store) Timeout() time.Duration { return s.timeout }

// Key returns the name of a key: the prefix and the parts, with colons between
// them.
func (s *Store) Key(parts ...string) string {
	name := s.prefix
	for _, part := range parts {
		name += ":" + part
	}
	return name
}

// Away tells whether Redis is taken for away.
func (s *Store) Away() bool { return s.breaker.State() == gobreaker.StateOpen }

// Hold keeps the store open until Release, for a call that may outlive the
// config it came in by. It fails once the store has been let go of.
func (s *Store) Hold() bool {
	for {
		holders := s.holders.Load()
		if holders == 0 {
			return false
		}
		if s.holders.CompareAndSwap(holders, holders+1) {
			return true
		}
	}
}

// Release lets go of the store. The last one closes its connections.
func (s *Store) Release() error {
	if s.holders.Add(-1) > 0 {
		return nil
	}
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("closing the connections to Redis: %w", err)
	}
	return nil
}

// Destruct releases what [Open] holds, so that a caddy.UsagePool can hold
// stores.
func (s *Store) Destruct() error { return s.Release() }

// tell passes on that Redis is away or back. It is half-open in between, which
// is no news.
func (s *Store) tell(_ string, from, to gobreaker.State) {
	if s.changed == nil {
		return
	}
	switch {
	case to == gobreaker.StateClosed:
		s.changed(nil)
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		s.changed(*s.last.Load())
	}
}

// guard asks the breaker before each command, and tells it what came of it.
type guard struct{ store *Store }

// guarded marks the context of a command that the breaker has let through. If
// that opens a connection, the commands which do so run through the guard as
// well: they are part of it, and a breaker that lets just one through would
// refuse them.
type guarded struct{}

// allow asks the breaker, and returns what to tell it by. It is nil for a
// command within another.
func (g guard) allow(ctx context.Context) (context.Context, func(error), error) {
	if ctx.Value(guarded{}) != nil {
		return ctx, nil, nil
	}
	done, err := g.store.breaker.Allow()
	if err != nil {
		return ctx, nil, ErrAway
	}
	return context.WithValue(ctx, guarded{}, true), done, nil
}

// DialHook leaves dialing alone: a command that could not be sent has failed.
func (g guard) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook guards one command.
func (g guard) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		ctx, done, err := g.allow(ctx)
		if err != nil {
			command.SetErr(err)
			return err
		}
		err = next(ctx, command)
		g.store.judge(done, err)
		return err
	}
}

// ProcessPipelineHook guards commands that are sent together.
func (g guard) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		ctx, done, err := g.allow(ctx)
		if err != nil {
			for _, command := range commands {
				command.SetErr(err)
			}
			return err
		}
		err = next(ctx, commands)
		g.store.judge(done, err)
		return err
	}
}

// judge tells the breaker what came of a command.
func (s *Store) judge(done func(error), err error) {
	if done == nil {
		return
	}
	if unreachable(err) {
		s.last.Store(&err)
	}
	done(err)
}

// unreachable tells whether err says that Redis cannot be worked with. An
// error that it answers is none of these, as a rule.
func unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return true
	}
	return slices.ContainsFunc(unserving, func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
}

// unserving are the answers of a Redis that serves nobody at the moment, or
// not us.
var unserving = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "NOPERM", "MISCONF", "OOM"}
