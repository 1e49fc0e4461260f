// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// target is something that calls can be sent to.
type target struct {
	name string
	// address is host:port, and prefix what stands before the API's path.
	address, prefix string
	// key is the credential that is sent.
	key string
	// pid is the process whose CPU and memory count; 0 if it is not known.
	pid int
	// admin is the address of a Caddy's admin API.
	admin string
	// missing says why the target cannot be had.
	missing string
}

// parseTarget reads a target as the command line gives it.
func parseTarget(text string) (target, error) {
	name, rest, ok := strings.Cut(text, "=")
	fields := strings.Split(rest, ",")
	base, err := url.Parse(fields[0])
	if !ok || err != nil || base.Scheme != "http" || base.Host == "" {
		return target{}, fmt.Errorf("%q: not of the form name=http://host:port", text)
	}
	t := target{name: name, address: base.Host, prefix: strings.TrimRight(base.Path, "/"), key: goodKey(0)}
	if base.Port() == "" {
		t.address = net.JoinHostPort(base.Host, "80")
	}
	for _, field := range fields[1:] {
		switch option, value, _ := strings.Cut(field, "="); option {
		case "key":
			t.key = value
		case "pid":
			if t.pid, err = strconv.Atoi(value); err != nil {
				return t, fmt.Errorf("%q: pid: %w", text, err)
			}
		default:
			return t, fmt.Errorf("%q: unknown option %q", text, option)
		}
	}
	return t, nil
}

//go:embed configs
var configs embed.FS

// recipe is how a target is started.
type recipe struct {
	config        string
	keys, clients int
}

var recipes = map[string]recipe{
	nginx:       {config: "nginx.conf"},
	bare:        {config: "bare.Caddyfile"},
	transport:   {config: "transport.Caddyfile"},
	full:        {"full.Caddyfile", 10, 10},
	keys1000:    {"full.Caddyfile", 1000, 10},
	clients100k: {"full.Caddyfile", 10, 100_000},
	rotating:    {"rotation.Caddyfile", 10, 10},
	limited:     {"limited.Caddyfile", 10, 10},
}

// clientLimits are what each client may use: more than it will.
const clientLimits = "limit requests 100000000 1m\nlimit tokens 1000000000000 day\nlimit concurrent 100000\n"

// clientSecret is the key of the last client, who is as hard to find as any.
func clientSecret(i int) string { return "clp-bench-" + strconv.Itoa(i) }

// write puts the target's config into dir, with its placeholders filled.
func (r recipe) write(dir string, values map[string]string) (string, error) {
	if r.clients > 0 {
		var clients strings.Builder
		for i := range r.clients {
			fmt.Fprintf(&clients, "client client-%d sha256:%x {\n%s}\n", i, sha256.Sum256([]byte(clientSecret(i))), clientLimits)
		}
		values["CLIENTS"] = filepath.Join(dir, "clients")
		if err := os.WriteFile(values["CLIENTS"], []byte(clients.String()), 0o600); err != nil {
			return "", fmt.Errorf("writing the clients: %w", err)
		}
	}
	keys := make([]string, r.keys)
	for i := range keys {
		keys[i] = goodKey(i)
	}
	values["FLOODER"] = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(flooderKey)))
	values["KEYS"], values["DIR"], values["LOG"] = strings.Join(keys, " "), dir, filepath.Join(dir, "caddy.log")
	text, err := configs.ReadFile("configs/" + r.config)
	if err != nil {
		return "", fmt.Errorf("reading the config: %w", err)
	}
	for name, value := range values {
		text = []byte(strings.ReplaceAll(string(text), "{$"+name+"}", value))
	}
	path := filepath.Join(dir, r.config)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("writing the config: %w", err)
	}
	return path, nil
}
