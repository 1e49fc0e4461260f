// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/bench/load"
	"github.com/seed83435595/caddy-llm-proxy/bench/proc"
)

// bench holds what runs, and what was measured.
type bench struct {
	ctx      context.Context
	options  *options
	dir      string
	provider *target
	targets  map[string]*target
	servers  []*server
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
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
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
		s.stop()
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
func (b *bench) launch(name string) (*target, *server, error) {
	r := recipes[name]
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a directory: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	config, err := r.write(dir, map[string]string{"PORT": port(address), "ADMIN": port(admin), "UPSTREAM": port(b.provider.address)})
	if err != nil {
		return nil, nil, err
	}
	t := &target{name: name, address: address, admin: admin, key: goodKey(0)}
	words := []string{b.options.caddy, "run", "--config", config}
	if name == nginx {
		program, err := b.findNginx()
		if err != nil {
			t.missing = err.Error()
			return t, nil, nil
		}
		t.admin, words = "", []string{program, "-p", dir, "-c", config, "-e", "stderr"}
	}
	if r.clients > 0 {
		t.key = clientSecret(r.clients - 1)
	}
	s, err := launch(b.ctx, b.options.targetCPU(), dir, address, words...)
	if err != nil {
		return nil, nil, err
	}
	t.pid = s.command.Process.Pid
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
		var s *server
		var err error
		if t, s, err = b.launch(name); err != nil {
			return err
		}
		if s != nil {
			defer s.stop()
		}
	}
	s := sample{Work: w.name, Target: name, Round: round, Failure: t.missing, Values: map[string]float64{}}
	if t.missing == "" {
		drive(t, w, &s)
	}
	b.samples = append(b.samples, s)
	return nil
}

// drive puts the load on t and writes down what follows.
func drive(t *target, w *work, s *sample) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	idle, _ := proc.Memory(t.pid)
	g := load.Start(load.Load{
		Address: t.address, Request: requests(t, w), Status: status,
		Connections: w.connections, Rate: w.rate, Ramp: w.ramp,
	})
	time.Sleep(w.ramp + w.warm)
	before, _ := proc.CPU(t.pid)
	began := time.Now()
	result := g.Measure(w.measure)
	after, known := proc.CPU(t.pid)
	seconds := time.Since(began).Seconds()
	full, _ := proc.Memory(t.pid)
	g.Stop()

	s.Calls, s.Failures, s.Failure = result.Calls, result.Failures, result.Failure
	events := float64(result.Event.Count())
	if w.fresh {
		s.set(memoryStream, float64(full-idle)/1000, float64(w.connections))
	}
	s.set(callsPerSecond, float64(result.Calls), seconds)
	if known && w.rate == 0 && !w.fresh {
		used := microseconds(after - before)
		s.set(cpuCall, used, float64(result.Calls))
		s.set(cpuEvent, used, events)
	}
	s.setQuantiles(&result.Latency, latencyP50, latencyP99)
	s.setQuantiles(&result.FirstToken, firstP50, firstP99)
	s.setQuantiles(&result.Event, eventP50, eventP99)
}

// set notes a value as a share of something that there was.
func (s *sample) set(name string, total, of float64) {
	if of > 0 {
		s.Values[name] = total / of
	}
}

func (s *sample) setQuantiles(h *load.Histogram, p50, p99 string) {
	if h.Count() > 0 {
		s.Values[p50], s.Values[p99] = microseconds(h.Quantile(0.5)), microseconds(h.Quantile(0.99))
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// profile does every work once more to each Caddy, and lets Caddy's admin API
// write down where the time goes.
func (b *bench) profile(p *plan) error {
	if err := os.MkdirAll(b.options.profile, 0o755); err != nil {
		return fmt.Errorf("making the directory for profiles: %w", err)
	}
	for i := range p.works {
		w := &p.works[i]
		for _, name := range w.targets {
			t := b.targets[name]
			if w.fresh || t.admin == "" {
				continue
			}
			fetched := make(chan error, 1)
			path := filepath.Join(b.options.profile, w.name+"-"+strings.ToLower(name)+".pprof")
			time.AfterFunc(w.ramp+w.warm, func() { fetched <- fetchProfile(t.admin, w.measure, path) })
			drive(t, w, &sample{Values: map[string]float64{}})
			if err := <-fetched; err != nil {
				return fmt.Errorf("profiling %s: %w", name, err)
			}
		}
	}
	return nil
}

func fetchProfile(admin string, d time.Duration, path string) error {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, max(int(d.Seconds()), 1)))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	profile, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, profile, 0o644)
}
