// SPDX-License-Identifier: Apache-2.0

// Package gosdk drives a gateway with the official Go SDKs. The end-to-end
// tests run it, and say in GATEWAY_URL and GATEWAY_KEY where the gateway is.
package gosdk

import (
	"os"
	"strings"
	"testing"
	"time"
)

// What the models of the gateway do: one answers, one has no key that is not
// limited for long, and one is limited for two seconds when first asked.
const (
	good      = "good-model"
	exhausted = "exhausted-model"
	brief     = "brief-model"
)

// briefly is for how long the brief model is limited.
const briefly = 2 * time.Second

func gateway(t *testing.T) (url, key string) {
	t.Helper()
	url, key = os.Getenv("GATEWAY_URL"), os.Getenv("GATEWAY_KEY")
	if url == "" || key == "" {
		t.Fatal("GATEWAY_URL and GATEWAY_KEY name no gateway; the tests in e2e set them")
	}
	return url, key
}

// checkText wants the simulator's twenty words.
func checkText(t *testing.T, text string) {
	t.Helper()
	if n := len(strings.Fields(text)); n != 20 {
		t.Errorf("got %d words: %q", n, text)
	}
}

// checkWaited wants a call that was tried again when it was told to.
func checkWaited(t *testing.T, since time.Time, err error) {
	t.Helper()
	if took := time.Since(since); err != nil || took < briefly {
		t.Errorf("after %v: %v", took, err)
	}
}
