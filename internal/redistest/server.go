// SPDX-License-Identifier: Apache-2.0

// Package redistest starts a real redis-server for tests.
package redistest

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/process"
)

// Server is a redis-server on a port of its own, which keeps nothing on disk.
type Server struct {
	// Address is where it listens, also after a Restart.
	Address string

	t       testing.TB
	port    string
	options []string
	process *process.Process
}

// Start starts a server that ends with the test. Options are further ones of
// its command line.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: "127.0.0.1:" + ports[0], t: t, port: ports[0], options: options}
	s.run()
	t.Cleanup(s.Kill)
	return s
}

// Kill ends the server at once. What it knew is lost.
func (s *Server) Kill() { s.process.Kill() }

// Restart starts the server again after a Kill, with nothing in it.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.run()
}

func (s *Server) run() {
	s.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("redis-server is not installed: run scripts/install-redis.sh, as 'make test' does")
	}
	dir := s.t.TempDir()
	command := exec.Command(program, append([]string{
		"--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir,
	}, s.options...)...)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.process, err = process.Start(ctx, command, filepath.Join(dir, "log"), process.Listens(s.Address)); err != nil {
		s.t.Fatal(err)
	}
}
