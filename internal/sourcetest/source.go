// SPDX-License-Identifier: Apache-2.0

// Package sourcetest holds what the tests of all sources of credentials need.
// Secrets in these tests begin with "canary".
package sourcetest

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/credentials"
)

// Source is a source that Caddy provisions.
type Source interface {
	credentials.Source
	caddy.Provisioner
}

// Provision makes a source ready, as loading a config does.
func Provision(s Source) error {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	return s.Provision(ctx)
}

// Obtain asks a source for a credential, and makes it ready if nobody has.
func Obtain(t *testing.T, s Source, last *credentials.Grant) *credentials.Grant {
	t.Helper()
	if s.Identity() == "" {
		if err := Provision(s); err != nil {
			t.Fatal(err)
		}
	}
	grant, err := s.Obtain(context.Background(), last)
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// ObtainError makes a source ready and returns why it obtains nothing.
func ObtainError(t *testing.T, s Source) error {
	t.Helper()
	if err := Provision(s); err != nil {
		t.Fatal(err)
	}
	_, err := s.Obtain(context.Background(), nil)
	return err
}

// CheckError checks that an error says what it should, in a length that suits
// a log, and no secret.
func CheckError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") || len(err.Error()) > 500 {
		t.Errorf("want %q, got %v", want, err)
	}
}

// WriteFile writes a file and returns its name.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// ClearEnv keeps the machine's own settings out of a test.
func ClearEnv(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		t.Setenv(name, "")
	}
}
