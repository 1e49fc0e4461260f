// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Redis is where instances of Caddy share what they know: a server, a cluster,
// or a server that sentinels watch over. All its texts may hold placeholders.
// It is not needed for the start: as long as it is away, each instance goes by
// what it knows itself.
type Redis struct {
	// Addresses are where it is: redis://[user:password@]host[:port][/database],
	// rediss:// for TLS, or just host:port. Several are the nodes of a cluster
	// or, with Master, the sentinels; they have the rest in common.
	Addresses []string `json:"addresses,omitempty"`

	// Master is the name by which sentinels know the server. Default: no
	// sentinels are asked.
	Master string `json:"master,omitempty"`

	// Cluster says that the address is a node of a cluster, also if it is the
	// only one. Default: only several addresses without a Master are.
	Cluster bool `json:"cluster,omitempty"`

	// Username and Password are for the server. Default: those of the address.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`

	// SentinelUsername and SentinelPassword are for the sentinels.
	// Default: none.
	SentinelUsername string `json:"sentinel_username,omitempty"`
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// DB is the number of the database. Default: that of the address, or 0.
	DB int `json:"db,omitempty"`

	// KeyPrefix is what the names of all keys begin with. Instances that are
	// to share what they know need the same. Default: caddy_llm.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// TLS encrypts the connection, as rediss:// does. Default: false.
	TLS bool `json:"tls,omitempty"`

	// CAFile holds the certificates by which the server is known, in PEM.
	// Default: those of the system.
	CAFile string `json:"ca_file,omitempty"`

	// CertFile and KeyFile are a certificate to show the server and its key,
	// in PEM. Default: none is shown.
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`

	// Timeout is how long a command may take. Default: 250ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// OnFailure says what becomes of a call whose limits Redis keeps, while it
	// is away: allow lets it in by what this instance has counted; deny
	// refuses it. A client's key is never refused for that. Default: allow.
	OnFailure string `json:"on_failure,omitempty"`
}

// What OnFailure may be.
const (
	OnFailureAllow = "allow"
	OnFailureDeny  = "deny"
)

// stores holds the connections. Handlers and transports that mean the same
// Redis share them, also over reloads.
var stores = caddy.NewUsagePool()

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

// OpenRedis returns the store that r means, and what closes it again, which
// must be called once. The network is not asked.
func OpenRedis(r *Redis) (*store.Store, func() error, error) {
	options, err := r.options()
	if err != nil {
		return nil, nil, err
	}
	text, err := r.name(options)
	if err != nil {
		return nil, nil, err
	}
	name := sha256.Sum256([]byte(text))
	shared, _, err := stores.LoadOrNew(name, func() (caddy.Destructor, error) {
		options.Changed = tellOfRedis
		return store.Open(options)
	})
	if err != nil {
		return nil, nil, err
	}
	return shared.(*store.Store), func() error {
		_, err := stores.Delete(name)
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

// tellOfRedis logs that Redis is away, or back. The connection may outlive the
// config that opened it, so its logger is Caddy's own.
func tellOfRedis(cause error) {
	logger := caddy.Log().Named("llm.redis")
	if cause == nil {
		logger.Info("redis is back")
		return
	}
	logger.Warn("redis is away: each instance goes by what it knows itself", zap.Error(cause))
}

// check refuses options that cannot be meant as they stand.
func (r *Redis) check() error {
	if r.DB < 0 || r.Timeout < 0 {
		return errors.New("neither the database nor the timeout can be negative")
	}
	return syntax.Check(syntax.Choice{Option: "on_failure", Value: r.OnFailure, Known: []string{OnFailureAllow, OnFailureDeny}})
}

// options resolves what the config says.
func (r *Redis) options() (store.Options, error) {
	repl := caddy.NewReplacer()
	o := store.Options{Cluster: r.Cluster, DB: r.DB, Timeout: time.Duration(r.Timeout)}
	if err := r.check(); err != nil {
		return o, err
	}
	encrypted := r.TLS
	for _, address := range r.Addresses {
		text, err := repl.ReplaceOrErr(address, true, true)
		if err != nil {
			return o, fmt.Errorf("address: %w", err)
		}
		isEncrypted, err := readRedisAddress(text, &o)
		if err != nil {
			return o, err
		}
		encrypted = encrypted || isEncrypted
	}
	var password, sentinelPassword, caFile, certFile, keyFile string
	for _, field := range []struct {
		name, text string
		into       *string
	}{
		{"username", r.Username, &o.Username}, {"password", r.Password, &password}, {"master", r.Master, &o.Master},
		{"sentinel_username", r.SentinelUsername, &o.SentinelUsername}, {"sentinel_password", r.SentinelPassword, &sentinelPassword},
		{"key_prefix", r.KeyPrefix, &o.Prefix}, {"ca_file", r.CAFile, &caFile}, {"cert_file", r.CertFile, &certFile}, {"key_file", r.KeyFile, &keyFile},
	} {
		if field.text == "" {
			continue
		}
		text, err := repl.ReplaceOrErr(field.text, true, true)
		if err != nil {
			return o, fmt.Errorf("%s: %w", field.name, err)
		}
		*field.into = text
	}
	if password != "" {
		o.Password = keypool.NewSecret(password)
	}
	o.SentinelPassword = keypool.NewSecret(sentinelPassword)
	if encrypted || caFile != "" || certFile != "" {
		var err error
		if o.TLS, err = redisTLS(caFile, certFile, keyFile); err != nil {
			return o, err
		}
	}
	return o, nil
}

// readRedisAddress takes what an address says. The error does not repeat it,
// for it may hold a password.
func readRedisAddress(text string, o *store.Options) (encrypted bool, err error) {
	if !strings.Contains(text, "://") {
		text = "redis://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || u.RawQuery != "" {
		return false, errors.New("address: it should look like redis://user:password@host:6379/0, rediss://host or host:6379")
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	o.Addresses = append(o.Addresses, net.JoinHostPort(u.Hostname(), port))
	if u.User != nil {
		o.Username = u.User.Username()
		if password, ok := u.User.Password(); ok {
			o.Password = keypool.NewSecret(password)
		}
	}
	if name := strings.Trim(u.Path, "/"); name != "" {
		if o.DB, err = strconv.Atoi(name); err != nil || o.DB < 0 {
			return false, errors.New("address: what stands behind the slash must be the number of a database")
		}
	}
	return u.Scheme == "rediss", nil
}

func redisTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file: no certificate in %s", caFile)
		}
	}
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
