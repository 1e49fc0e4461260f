// SPDX-License-Identifier: Apache-2.0

// Package process starts servers, for tests and measurements: it waits until
// one serves, keeps what it writes, and sees to its end.
package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is a server that was started.
type Process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// Start runs a command, which writes to the file log, and returns once it is
// ready. If it is not by the end of ctx, or ends before, it is ended, and the
// error holds the last that it wrote.
func Start(ctx context.Context, cmd *exec.Cmd, log string, ready func(*Process) bool) (*Process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("making the log: %w", err)
	}
	defer file.Close()
	p := &Process{cmd: cmd, log: log, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	if err := p.Await(ctx, ready); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// Await waits until the process is ready. It fails when the process or ctx ends
// before that.
func (p *Process) Await(ctx context.Context, ready func(*Process) bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready(p) {
		var cause error
		select {
		case <-tick.C:
			continue
		case <-p.exited:
			if ready(p) { // by what it wrote last
				return nil
			}
			cause = errors.New("it has ended")
		case <-ctx.Done():
			cause = context.Cause(ctx)
		}
		return fmt.Errorf("waiting for %s: %w; the last it wrote:\n%s", filepath.Base(p.cmd.Path), cause, p.LastWords())
	}
	return nil
}

// Listens is ready when an address takes connections.
func Listens(address string) func(*Process) bool {
	return func(*Process) bool {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		return err == nil && connection.Close() == nil
	}
}

// Says is ready when the process has written a text.
func Says(text string) func(*Process) bool {
	return func(p *Process) bool { return strings.Contains(p.Output(), text) }
}

// Pid is the number by which the system knows the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is all that it has written.
func (p *Process) Output() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// LastWords are the end of that.
func (p *Process) LastWords() string {
	text := p.Output()
	return text[max(0, len(text)-6000):]
}

// Stop asks the process to end, and ends it if it does not within 10 seconds.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Kill ends the process at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// FreePorts returns ports that nobody listens on. They are below those that
// systems give to outgoing connections, one of which could take a port before
// the server does.
func FreePorts(n int) ([]string, error) {
	var ports []string
	for range 1000 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		defer listener.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no port is free")
}
