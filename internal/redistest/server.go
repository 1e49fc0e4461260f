// SPDX-License-Identifier: Apache-2.0

// Package redistest starts a real redis-server for tests.
package redistest

import (
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Server is a redis-server on a port of its own, which keeps nothing on disk.
type Server struct {
	// Address is where it listens, also after a Restart.
	Address string

	t       testing.TB
	port    string
	options []string
	process *exec.Cmd
}

// Start starts a server that ends with the test. Options are further ones of
// its command line.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: net.JoinHostPort("127.0.0.1", port), t: t, port: port, options: options}
	s.run()
	t.Cleanup(s.Kill)
	return s
}

// Kill ends the server at once. What it knew is lost.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
}

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
	s.process = exec.Command(program, append([]string{
		"--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir(),
	}, s.options...)...)
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		connection, err := net.Dial("tcp", s.Address)
		if err == nil {
			_ = connection.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("redis-server does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
