// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
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
	base   string
	dir    string
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
}

// startGateway runs a Caddy binary and returns once it listens. The gateway's
// client is known by the key.
func startGateway(ctx context.Context, binary, target, key string, s setup) (*gateway, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.Listen = listen
	config, err := s.caddyfile(target)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "crashtest")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	g := &gateway{base: "http://" + listen, dir: dir, exited: make(chan struct{})}
	if err := g.run(binary, key, config); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := g.await(ctx, listen); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

func (g *gateway) run(binary, key, config string) error {
	path := filepath.Join(g.dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing the config: %w", err)
	}
	log, err := os.Create(filepath.Join(g.dir, "log"))
	if err != nil {
		return fmt.Errorf("making a log: %w", err)
	}
	g.log = log
	g.cmd = exec.Command(binary, "run", "--config", path, "--adapter", "caddyfile")
	g.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir, "CRASHTEST_KEY="+key)
	g.cmd.Stdout, g.cmd.Stderr = log, log
	if err := g.cmd.Start(); err != nil {
		log.Close()
		return fmt.Errorf("starting %s: %w", binary, err)
	}
	go func() {
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	return nil
}

// await waits until somebody listens.
func (g *gateway) await(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-g.exited:
			return fmt.Errorf("caddy ended at once: %s", g.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("caddy does not listen: %w: %s", ctx.Err(), g.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords are the last line of Caddy's log, where it says why it ended.
func (g *gateway) lastWords() string {
	text, _ := os.ReadFile(g.log.Name())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// stop ends Caddy and clears up after it.
func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(os.Interrupt)
	select {
	case <-g.exited:
	case <-time.After(5 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
	g.log.Close()
	_ = os.RemoveAll(g.dir)
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
