// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/seed83435595/caddy-llm-proxy/internal/process"
)

// bench holds what runs, and what was measured.
type bench struct {
	ctx      context.Context
	options  *options
	dir      string
	provider *target
	targets  map[string]*target
	servers  []*process.Process
	samples  samples
}

// newBench starts the provider.
func newBench(ctx context.Context, o *options) (*bench, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	b := &bench{ctx: ctx, options: o, dir: dir, targets: map[string]*target{}}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the program: %w", err)
	}
	free, err := freeAddresses(1)
	if err != nil {
		return nil, err
	}
	address := free[0]
	s, err := launch(ctx, o.generatorCPU(), dir, address, self, "provider", address)
	if err != nil {
		return nil, err
	}
	b.servers = append(b.servers, s)
	b.provider = &target{name: direct, address: address, key: goodKey(0)}
	b.targets[direct] = b.provider
	for _, t := range o.targets {
		b.targets[t.name] = &t
	}
	return b, nil
}

// close ends everything that was started.
func (b *bench) close() {
	for _, s := range b.servers {
		s.Kill()
	}
	_ = os.RemoveAll(b.dir)
}

// start starts the targets of the plan that are not started anew each time.
func (b *bench) start(p *plan) error {
	for _, w := range p.works {
		for _, name := range w.targets {
			if b.targets[name] != nil || w.fresh {
				continue
			}
			t, s, err := b.launch(name)
			if err != nil {
				return fmt.Errorf("target %s: %w", name, err)
			}
			if s != nil {
				b.servers = append(b.servers, s)
			}
			b.targets[name] = t
		}
	}
	return nil
}

// launch starts a target by its recipe. One that is not installed is missing.
func (b *bench) launch(name string) (*target, *process.Process, error) {
	r := recipes[name]
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a directory: %w", err)
	}
	free, err := freeAddresses(2)
	if err != nil {
		return nil, nil, err
	}
	address, admin := free[0], free[1]
	config, err := r.write(dir, map[string]string{"PORT": port(address), "ADMIN": port(admin), "UPSTREAM": port(b.provider.address)})
	if err != nil {
		return nil, nil, err
	}
	t := &target{name: name, address: address, admin: admin, key: goodKey(0)}
	words := []string{b.options.caddy, "run", "--config", config}
	if name == nginx {
		t.admin = ""
		program, err := b.findNginx()
		if err != nil {
			t.missing = err.Error()
			return t, nil, nil
		}
		words = []string{program, "-p", dir, "-c", config, "-e", "stderr"}
	}
	if r.clients > 0 {
		t.key = clientSecret(r.clients - 1)
	}
	s, err := launch(b.ctx, b.options.targetCPU(), dir, address, words...)
	if err != nil {
		return nil, nil, err
	}
	t.pid = s.Pid()
	return t, s, nil
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func (b *bench) findNginx() (string, error) {
	for _, program := range []string{b.options.nginx, "nginx"} {
		if path, err := exec.LookPath(program); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", errors.New("nginx is not installed; scripts/install-nginx.sh fetches it")
}

// round does every work to all its targets. Who is first changes each time.
func (b *bench) round(p *plan, round int) error {
	for i := range p.works {
		w := &p.works[i]
		for j := range w.targets {
			name := w.targets[(j+round)%len(w.targets)]
			if err := b.ctx.Err(); err != nil {
				return err
			}
			if err := b.sample(w, name, round); err != nil {
				return fmt.Errorf("work %s, target %s: %w", w.name, name, err)
			}
		}
	}
	return nil
}

// sample does one work to one target.
func (b *bench) sample(w *work, name string, round int) error {
	t := b.targets[name]
	if w.fresh {
		var s *process.Process
		var err error
		if t, s, err = b.launch(name); err != nil {
			return err
		}
		if s != nil {
			defer s.Kill()
		}
	}
	s := sample{Work: w.name, Target: name, Round: round, Failure: t.missing, Values: map[string]float64{}}
	if t.missing == "" {
		drive(t, w, &s)
	}
	b.samples = append(b.samples, s)
	return nil
}
