// SPDX-License-Identifier: Apache-2.0

// Command crashtest examines how an LLM gateway behaves when its provider
// fails. It plays a provider that fails in sixteen ways, and a caller that
// asks the gateway in front of it, and judges by what both ends see.
//
// The gateway is either one that is running already (-base), configured with
// the provider's address (-provider) and the models s01-chat-primary to
// s16-gemini-primary, each with its fallback s01-chat-fallback and so on; or a
// Caddy that the program starts and configures itself (-caddy).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// apart is the time between the beginnings of two scenarios.
const apart = time.Second

// options are what the command line asks for.
type options struct {
	base, caddy, target, rescue string
	provider, key, json         string
	profile                     string
	pace                        pace
	families                    []*family
}

// run is the whole program; it returns the exit code: 0 if nothing failed, 1
// if a scenario did, 2 if the exam could not be held.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		var r *report
		if r, err = o.examine(ctx, out); err == nil {
			_, err = io.WriteString(out, r.String())
			if err == nil && o.json != "" {
				err = r.save(o.json)
			}
			if err == nil && !r.passed() {
				return 1
			}
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "crashtest:", err)
		return 2
	}
	return 0
}

func parse(args []string, errs io.Writer) (*options, error) {
	var o options
	var name string
	flags := flag.NewFlagSet("crashtest", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&o.base, "base", "", "examine the gateway at this `URL`: what stands before /v1/chat/completions, /v1/responses, /v1/messages and /v1beta/models")
	flags.StringVar(&o.caddy, "caddy", "", "start and examine this Caddy `binary`")
	flags.StringVar(&o.target, "target", "llm_proxy", "what the started Caddy runs: llm_proxy or reverse_proxy")
	flags.StringVar(&o.rescue, "rescue", "resume", "whether the started llm_proxy goes on with broken streams: resume or off")
	flags.StringVar(&name, "family", "all", "chat, responses, messages, gemini or all")
	flags.StringVar(&o.profile, "profile", "fast", "full plays the exam's own times, fast a fifth of them")
	flags.StringVar(&o.provider, "provider", "127.0.0.1:0", "the `address` at which the provider is played; port 0, a free one, only with -caddy")
	flags.StringVar(&o.key, "key", "crashtest", "the caller's key at the gateway")
	flags.StringVar(&o.json, "json", "", "write everything that was seen to this `file`")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return &o, o.check(name)
}

// check refuses what makes no sense before anything is started.
func (o *options) check(name string) error {
	for _, f := range families {
		if name == f.name || name == "all" {
			o.families = append(o.families, f)
		}
	}
	switch o.profile {
	case "full":
		o.pace = full
	case "fast":
		o.pace = fast
	}
	host, port, err := net.SplitHostPort(o.provider)
	ip := net.ParseIP(host)
	switch {
	case (o.base == "") == (o.caddy == ""):
		return errors.New("name either a running gateway with -base or a Caddy with -caddy")
	case len(o.families) == 0:
		return fmt.Errorf("unknown family %q", name)
	case o.pace == 0:
		return fmt.Errorf("unknown profile %q", o.profile)
	case o.target != "llm_proxy" && o.target != "reverse_proxy":
		return fmt.Errorf("unknown target %q", o.target)
	case o.rescue != "resume" && o.rescue != "off":
		return fmt.Errorf("-rescue is resume or off, not %q", o.rescue)
	case err != nil || host != "localhost" && !ip.IsLoopback():
		return fmt.Errorf("-provider is an address of the loopback interface with a port, not %q", o.provider)
	case o.base != "" && port == "0":
		return errors.New("a running gateway must know the provider's address: name its port with -provider")
	}
	return nil
}

// examine holds the exam.
func (o *options) examine(ctx context.Context, out io.Writer) (*report, error) {
	p, err := newProvider(o.provider, o.pace)
	if err != nil {
		return nil, err
	}
	defer p.close()
	base := o.base
	if o.caddy != "" {
		g, err := startGateway(ctx, o.caddy, o.target, o.key, setup{Provider: p.addr, Rescue: o.rescue, pace: o.pace})
		if err != nil {
			return nil, err
		}
		defer g.stop()
		base = g.base
	}
	if _, err := fmt.Fprintf(out, "gateway %s, provider http://%s, profile %s\n", base, p.addr, o.profile); err != nil {
		return nil, err
	}
	r := &report{Profile: o.profile, Gateway: base, families: o.families}
	r.Results = exam(ctx, scenarios, o.families, newCaller(base, o.key), p)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r, nil
}

// exam plays scenarios at the same time: each has models of its own, so that
// nothing a gateway learns of one may touch another. They begin a little apart,
// the longest early, so that the machine is never the bottleneck.
func exam(ctx context.Context, of []*scenario, in []*family, c *caller, p *provider) []*result {
	var playing sync.WaitGroup
	results := make([]*result, len(of)*len(in))
	for i, f := range in {
		for j, s := range of {
			playing.Go(func() {
				pause(ctx, p.pace.of(time.Duration(len(of)-1-j)*apart))
				results[i*len(of)+j] = s.play(ctx, f, c, p)
			})
		}
	}
	playing.Wait()
	return results
}
