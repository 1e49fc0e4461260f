// SPDX-License-Identifier: Apache-2.0

// Package postgrestest starts a real PostgreSQL for tests.
package postgrestest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/process"
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

	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server := command(filepath.Join(home, "postgres"), "-D", data, "-p", ports[0], "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	started, err := process.Start(ctx, server, filepath.Join(t.TempDir(), "log"), func(*process.Process) bool {
		return exec.Command(filepath.Join(home, "pg_isready"), "-h", "127.0.0.1", "-p", ports[0], "-U", "test").Run() == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Stop)
	return fmt.Sprintf("postgres://test@127.0.0.1:%s/postgres?sslmode=disable", ports[0])
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
