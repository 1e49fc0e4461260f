// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/process"
)

//go:embed *.tmpl
var templates embed.FS

// startBound is how long Caddy may take to listen.
const startBound = 20 * time.Second

// setup is what a Caddyfile is made of.
type setup struct {
	// Listen and Provider are addresses with ports.
	Listen, Provider string
	Rescue           string

	pace pace
}

// Time scales a time as the profile does.
func (s setup) Time(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	return s.pace.of(d), err
}

// APIs are the kinds of providers that the families need.
func (setup) APIs() []string { return []string{"openai", "anthropic", "gemini"} }

// chain is a model and its fallback.
type chain struct{ API, Primary, Fallback string }

// Chains are all the models that the exam asks for.
func (setup) Chains() []chain {
	apis := map[*family]string{chat: "openai", responses: "openai", messages: "anthropic", gemini: "gemini"}
	var all []chain
	for _, s := range scenarios {
		for _, f := range families {
			all = append(all, chain{apis[f], modelName(s.number, f, primary), modelName(s.number, f, fallback)})
		}
	}
	return all
}

// caddyfile writes the config for a target, llm_proxy or reverse_proxy.
func (s setup) caddyfile(target string) (string, error) {
	t, err := template.ParseFS(templates, target+".Caddyfile.tmpl")
	if err != nil {
		return "", fmt.Errorf("finding the config of %s: %w", target, err)
	}
	var text bytes.Buffer
	if err := t.Execute(&text, s); err != nil {
		return "", fmt.Errorf("writing the config of %s: %w", target, err)
	}
	return text.String(), nil
}

// gateway is a Caddy that this program started.
type gateway struct {
	base, dir string
	*process.Process
}

// startGateway runs a Caddy binary and returns once it listens. The gateway's
// client is known by the key.
func startGateway(ctx context.Context, binary, target, key string, s setup) (*gateway, error) {
	ports, err := process.FreePorts(1)
	if err != nil {
		return nil, err
	}
	s.Listen = "127.0.0.1:" + ports[0]
	config, err := s.caddyfile(target)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "crashtest")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	g := &gateway{base: "http://" + s.Listen, dir: dir}
	if err := g.run(ctx, binary, key, config, s.Listen); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return g, nil
}

func (g *gateway) run(ctx context.Context, binary, key, config, listen string) (err error) {
	path := filepath.Join(g.dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing the config: %w", err)
	}
	command := exec.Command(binary, "run", "--config", path, "--adapter", "caddyfile")
	command.Env = append(os.Environ(), "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir, "CRASHTEST_KEY="+key)
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	g.Process, err = process.Start(ctx, command, filepath.Join(g.dir, "log"), process.Listens(listen))
	return err
}

// stop ends Caddy and clears up after it.
func (g *gateway) stop() {
	g.Stop()
	_ = os.RemoveAll(g.dir)
}
