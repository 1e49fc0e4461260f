// SPDX-License-Identifier: Apache-2.0

// Package redisconf says where the Redis is over which instances of Caddy share
// what they know, and opens the connection to it. The pools of keys, the counts
// of clients, the store of managed clients and the ledger use it alike.
package redisconf

import (
	"errors"

	"github.com/caddyserver/caddy/v2"

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
	onFailureAllow = "allow"
	onFailureDeny  = "deny"
)

// Denies tells whether a call is refused whose limits Redis keeps, while it is
// away.
func (r *Redis) Denies() bool { return r.OnFailure == onFailureDeny }

// check refuses options that cannot be meant as they stand.
func (r *Redis) check() error {
	if r.DB < 0 || r.Timeout < 0 {
		return errors.New("neither the database nor the timeout can be negative")
	}
	return syntax.Check(syntax.Choice{Option: "on_failure", Value: r.OnFailure, Known: []string{onFailureAllow, onFailureDeny}})
}
