// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

// runHashKey runs 'caddy llm hash-key' with this standard input.
func runHashKey(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := hashKeyCommand()
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

// The command prints what the client option takes.
func TestHashKey(t *testing.T) {
	out, err := runHashKey(t, "demo-key\n")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := auth.ParseDigest(strings.TrimSpace(out))
	if err != nil || digest != auth.HashSecret("demo-key") {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := runHashKey(t, " \n"); err == nil {
		t.Error("an empty key was hashed")
	}
}

// A generated key fits its hash, and is another one each time.
func TestHashKeyGenerates(t *testing.T) {
	keys := map[string]bool{}
	for range 2 {
		out, err := runHashKey(t, "", "--generate")
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(out)
		if len(fields) != 4 || auth.HashSecret(fields[1]).String() != fields[3] {
			t.Fatalf("got %q", out)
		}
		keys[fields[1]] = true
	}
	if len(keys) != 2 {
		t.Error("the same key twice")
	}
}
