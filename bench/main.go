// SPDX-License-Identifier: Apache-2.0

// Command bench measures what the gateway costs, side by side with what a user
// would take instead: a bare Caddy, nginx, or no proxy at all. It starts a
// simulated provider and the targets, drives them in turns, and prints a table
// and one line per measure.
//
// CPU and memory are read from /proc, so that they are known on Linux alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	caddy, nginx string
	cpus         string
	plan         string
	quick        bool
	rounds       int
	only         string
	out          string
	profile      string
	targets      []target
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "provider" {
		fail(serveProvider(os.Args[2]))
	}
	o := parseOptions()
	if err := o.pin(); err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fail(err)
	}
}

// fail says what went wrong. What goes through package log, Caddy takes for its
// own log.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func parseOptions() *options {
	o := new(options)
	flag.StringVar(&o.caddy, "caddy", "bin/caddy", "the Caddy that is measured, with our modules")
	flag.StringVar(&o.nginx, "nginx", "bin/nginx/usr/sbin/nginx", "nginx, from scripts/install-nginx.sh or the system")
	flag.StringVar(&o.cpus, "cpus", "0,1", "the processor of the targets and that of everything else; empty: wherever they are put")
	flag.StringVar(&o.plan, "plan", "budget", "what is measured: "+strings.Join(planNames(), " or "))
	flag.BoolVar(&o.quick, "quick", false, "two short rounds of direct, bare and full: to see that it works, not to judge by")
	flag.IntVar(&o.rounds, "rounds", 0, "how often everything is measured (default 4, quick 2)")
	flag.StringVar(&o.only, "only", "", "the works to do, with commas between them (default all)")
	flag.StringVar(&o.out, "out", "bin/bench-results", "the directory for results.json, table.txt and picture.svg")
	flag.StringVar(&o.profile, "profile", "", "a directory for CPU profiles of the Caddys; another round is added for them")
	flag.Func("target", "another target, as `name=URL[,key=secret][,pid=n]`; may be repeated", func(text string) error {
		t, err := parseTarget(text)
		o.targets = append(o.targets, t)
		return err
	})
	flag.Parse()
	if o.rounds == 0 {
		o.rounds = 4
		if o.quick {
			o.rounds = 2
		}
	}
	return o
}

// pinned marks the process that pin has started anew.
const pinned = "BENCH_PINNED"

// pin moves this process, and so the provider, to a processor of its own, away
// from the targets: otherwise they would be measured by how they share one.
func (o *options) pin() error {
	if o.cpus == "" || os.Getenv(pinned) != "" {
		return nil
	}
	if _, _, ok := strings.Cut(o.cpus, ","); !ok {
		return errors.New("-cpus: two processors are needed, such as 0,1")
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil || runtime.NumCPU() < 2 {
		fmt.Println("There is no second processor, or no taskset, so that the generator disturbs the targets: figures are rough.")
		o.cpus = ""
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program: %w", err)
	}
	args := append([]string{taskset, "-c", o.generatorCPU(), self}, os.Args[1:]...)
	return syscall.Exec(taskset, args, append(os.Environ(), pinned+"=1"))
}

func (o *options) targetCPU() string {
	cpu, _, _ := strings.Cut(o.cpus, ",")
	return cpu
}

func (o *options) generatorCPU() string {
	_, cpu, _ := strings.Cut(o.cpus, ",")
	return cpu
}

// run does the whole plan and reports.
func run(ctx context.Context, o *options) error {
	p, err := newPlan(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("making the directory for results: %w", err)
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.start(p); err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("Measuring %d rounds, about %s.\n", o.rounds, (p.duration() * time.Duration(o.rounds)).Round(10*time.Second))
	for round := range o.rounds {
		if err := b.round(p, round); err != nil {
			return err
		}
		fmt.Printf("Round %d is done after %s.\n", round+1, time.Since(began).Round(time.Second))
	}
	if o.profile != "" {
		if err := b.profile(p); err != nil {
			return err
		}
	}
	return report(o, p, b)
}
