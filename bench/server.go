// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/process"
)

// startTimeout is how long a server may take until it listens. A hundred
// thousand clients take a while to read.
const startTimeout = 3 * time.Minute

// launch starts a command, on a processor of its own if one is given, and
// waits until it listens at address.
func launch(ctx context.Context, cpu, dir, address string, words ...string) (*process.Process, error) {
	if cpu != "" {
		words = append([]string{"taskset", "-c", cpu}, words...)
	}
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return process.Start(ctx, command, filepath.Join(dir, "output.log"), process.Listens(address))
}

// freeAddresses returns addresses at which nobody listens.
func freeAddresses(n int) ([]string, error) {
	ports, err := process.FreePorts(n)
	for i, port := range ports {
		ports[i] = "127.0.0.1:" + port
	}
	return ports, err
}
