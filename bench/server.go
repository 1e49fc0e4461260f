// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// server is a process that was started.
type server struct {
	command *exec.Cmd
	log     *os.File
	exited  chan struct{}
}

// startTimeout is how long a server may take until it listens. A hundred
// thousand clients take a while to read.
const startTimeout = 3 * time.Minute

// launch starts a command, on a processor of its own if one is given, and
// waits until it listens at address.
func launch(ctx context.Context, cpu, dir, address string, words ...string) (*server, error) {
	if cpu != "" {
		words = append([]string{"taskset", "-c", cpu}, words...)
	}
	output, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, fmt.Errorf("making the log: %w", err)
	}
	s := &server{command: exec.CommandContext(ctx, words[0], words[1:]...), log: output, exited: make(chan struct{})}
	s.command.Stdout, s.command.Stderr = output, output
	s.command.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", words[0], err)
	}
	go func() {
		_ = s.command.Wait()
		close(s.exited)
	}()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return s, conn.Close()
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("%s did not start: %s", strings.Join(words, " "), tail(output.Name()))
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s does not listen at %s", strings.Join(words, " "), address)
}

// stop ends the process and waits for its end.
func (s *server) stop() {
	_ = s.command.Process.Kill()
	<-s.exited
	_ = s.log.Close()
}

// tail returns the end of a file.
func tail(path string) string {
	text, _ := os.ReadFile(path)
	return string(text[max(len(text)-800, 0):])
}

// freeAddress returns an address on which nobody listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}
