// SPDX-License-Identifier: Apache-2.0

// Package postgrestest starts a real PostgreSQL for tests.
package postgrestest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Start starts a server that ends with the test, and returns the URL of a
// database in it.
func Start(t testing.TB) string {
	t.Helper()
	home := programs(t)
	// Not t.TempDir: the path of a socket may not be long, and the server's
	// own user must get there.
	folder, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	data := filepath.Join(folder, "data")
	if os.Geteuid() == 0 {
		own(t, folder)
	}
	run(t, command(filepath.Join(home, "initdb"), "-D", data, "-U", "test", "--auth=trust", "--no-sync"))

	port := freePort(t)
	server := command(filepath.Join(home, "postgres"), "-D", data, "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		_ = server.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if exec.Command(filepath.Join(home, "pg_isready"), "-h", "127.0.0.1", "-p", port, "-U", "test").Run() == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("postgres does not answer")
		}
	}
	return fmt.Sprintf("postgres://test@127.0.0.1:%s/postgres?sslmode=disable", port)
}

// programs returns the folder of the newest PostgreSQL.
func programs(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: run scripts/install-postgres.sh, as 'make test' does")
	}
	return filepath.Dir(found[len(found)-1])
}

// command returns one that does not run as root, which PostgreSQL refuses.
func command(program string, args ...string) *exec.Cmd {
	c := exec.Command(program, args...)
	if os.Geteuid() == 0 {
		c = exec.Command("setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--init-groups", program}, args...)...)
	}
	c.Dir = "/"
	return c
}

// own gives a folder to the user that the server runs as.
func own(t testing.TB, folder string) {
	t.Helper()
	run(t, exec.Command("chown", "postgres:postgres", folder))
}

func run(t testing.TB, c *exec.Cmd) {
	t.Helper()
	if output, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(c.Args, " "), err, output)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
