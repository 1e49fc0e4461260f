// SPDX-License-Identifier: Apache-2.0

package redisconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// options resolves what the config says.
func (r *Redis) options() (store.Options, error) {
	repl := caddy.NewReplacer()
	o := store.Options{Cluster: r.Cluster, Timeout: time.Duration(r.Timeout)}
	if err := r.check(); err != nil {
		return o, err
	}
	encrypted := r.TLS
	for _, address := range r.Addresses {
		text, err := repl.ReplaceOrErr(address, true, true)
		if err != nil {
			return o, fmt.Errorf("address: %w", err)
		}
		isEncrypted, err := readAddress(text, &o)
		if err != nil {
			return o, err
		}
		encrypted = encrypted || isEncrypted
	}
	if r.DB != 0 {
		o.DB = r.DB
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
		if o.TLS, err = tlsConfig(caFile, certFile, keyFile); err != nil {
			return o, err
		}
	}
	return o, nil
}

// readAddress takes what an address says. The error does not repeat it,
// for it may hold a password.
func readAddress(text string, o *store.Options) (encrypted bool, err error) {
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

func tlsConfig(caFile, certFile, keyFile string) (*tls.Config, error) {
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
