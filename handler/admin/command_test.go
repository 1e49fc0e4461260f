// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// A key that was never used has neither a rate nor a latency.
func TestMeasuresOfKeys(t *testing.T) {
	for name, test := range map[string]struct {
		health           health
		success, latency string
	}{
		"never used":              {health{SuccessRate: 1}, "-", "-"},
		"the client's fault only": {health{Attempts: 3, SuccessRate: 1}, "-", "-"},
		"failed only":             {health{Attempts: 3, Errors: 3}, "0%", "-"},
		"used":                    {health{Attempts: 4, Successes: 3, Errors: 1, SuccessRate: 0.75, LatencyMS: 2140.26}, "75%", "2.14s"},
	} {
		if success, latency := test.health.measures(); success != test.success || latency != test.latency {
			t.Errorf("%s: got %s %s, want %s %s", name, success, latency, test.success, test.latency)
		}
	}
}

// A key is not called free while its provider is left alone, and the models that
// nobody may ask for there count once.
func TestStateOfKeysOfAProviderAtRest(t *testing.T) {
	now := time.Now()
	soon := now.Add(8 * time.Second)
	away := keypool.CircuitStatus{State: "open", Until: soon, Class: keypool.ClassNotSent}
	o3 := keypool.CircuitStatus{Model: "o3", State: "open", Until: soon, Class: keypool.ClassUpstream}
	o4 := keypool.CircuitStatus{Model: "o4", State: "resting", Until: soon, Class: keypool.ClassOverloaded}
	healing := keypool.CircuitStatus{State: "half-open", Class: keypool.ClassNotSent}
	rejected := keypool.KeyStatus{State: "open", CoolingUntil: now.Add(30 * time.Second), CoolingClass: keypool.ClassCredential}
	limited := keypool.KeyStatus{State: "closed", CoolingModels: map[string]keypool.Rest{"o3": {Until: soon, Class: keypool.ClassRateLimited}}}
	for name, test := range map[string]struct {
		key       keypool.KeyStatus
		circuits  []keypool.CircuitStatus
		want      string
		available bool
	}{
		"nothing wrong":        {keypool.KeyStatus{State: "closed"}, nil, "free", true},
		"provider away":        {keypool.KeyStatus{State: "closed"}, []keypool.CircuitStatus{away}, "provider rests 8s (not_sent)", false},
		"on trial there":       {keypool.KeyStatus{State: "half-open"}, []keypool.CircuitStatus{away}, "provider rests 8s (not_sent)", false},
		"provider may be away": {keypool.KeyStatus{State: "closed"}, []keypool.CircuitStatus{healing}, "free", true},
		"rejected, too":        {rejected, []keypool.CircuitStatus{away}, "rests 30s (credential)", false},
		"disabled, too":        {keypool.KeyStatus{State: "disabled"}, []keypool.CircuitStatus{away}, "disabled", false},
		"models away":          {keypool.KeyStatus{State: "closed"}, []keypool.CircuitStatus{o3, o4}, "free (models at rest: 2)", true},
		"a model of both":      {limited, []keypool.CircuitStatus{o3}, "free (models at rest: 1)", true},
	} {
		k := keyOf(test.key, keypool.UpstreamStatus{Circuits: test.circuits})
		if got := k.why(now); got != test.want || k.Available != test.available {
			t.Errorf("%s: got %q, available %t, want %q", name, got, k.Available, test.want)
		}
	}
}

// A misspelled command fails and names those that there are; a command that is
// left out is asked for by the help.
func TestMisspelledCommandsFail(t *testing.T) {
	run := func(cmd *cobra.Command, args ...string) (string, error) {
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		err := cmd.Execute()
		return out.String(), err
	}
	llm := func() *cobra.Command {
		cmd := &cobra.Command{Use: "caddy", SilenceUsage: true}
		below := &cobra.Command{Use: "llm"}
		addCommands(below)
		cmd.AddCommand(below)
		return cmd
	}
	for args, want := range map[string]string{
		"llm frob":             `unknown command "frob" for 'caddy llm': there are client, hash-key and keys`,
		"llm client shwo x":    `unknown command "shwo" for 'caddy llm client': there are add, change, disable, enable, list, remove, rotate and show`,
		"llm keys diasble x y": `unknown command "diasble" for 'caddy llm keys': there are disable, enable, list and reset`, //nolint:misspell // on purpose
	} {
		if _, err := run(llm(), strings.Fields(args)...); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
	for _, args := range []string{"llm", "llm client", "llm keys"} {
		if out, err := run(llm(), strings.Fields(args)...); err != nil || !strings.Contains(out, "Available Commands") {
			t.Errorf("%s: %v, %s", args, err, out)
		}
	}
}

// What the instance says is told as it was meant, and what is no answer of its
// as it came.
func TestTheInstancesErrorIsReadable(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"expires: not a date such as \u003c2026-12-31\u003e"}` + "\n": "expires: not a date such as <2026-12-31>",
		`Bad Gateway`: "caddy responded with error: HTTP 400: Bad Gateway",
		`{}`:          "caddy responded with error: HTTP 400: {}",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		}))
		address := strings.TrimPrefix(server.URL, "http://")
		err := (&instance{address: address}).request(http.MethodGet, "/llm/clients", nil, new(any))
		server.Close()
		if err == nil || err.Error() != "asking the instance at "+address+": "+want {
			t.Errorf("%s: got %v", body, err)
		}
	}
}
