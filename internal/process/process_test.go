// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, script string, patience time.Duration) (*Process, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return Start(ctx, exec.Command("sh", "-c", script), filepath.Join(t.TempDir(), "log"), Says("ready"))
}

// What a process writes is kept, from before it was ready and from its end.
func TestOutputIsKept(t *testing.T) {
	p, err := start(t, "trap 'echo bye; exit' INT; echo ready; while :; do sleep 0.01; done", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if p.Stop(); p.Output() != "ready\nbye\n" {
		t.Errorf("got %q", p.Output())
	}
}

// Who waits for a process that has ended, or that never serves, is told what it
// wrote, and no process is left.
func TestProcessThatNeverServes(t *testing.T) {
	for script, patience := range map[string]time.Duration{
		"echo no such file >&2":                  time.Minute,
		"echo no such file; exec sleep infinity": 2 * time.Second,
	} {
		began := time.Now()
		p, err := start(t, script, patience)
		if p != nil || err == nil || !strings.Contains(err.Error(), "no such file") || time.Since(began) > 30*time.Second {
			t.Errorf("%s: got %v, %v", script, p, err)
		}
	}
}
