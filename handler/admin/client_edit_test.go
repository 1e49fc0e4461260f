// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed83435595/caddy-llm-proxy/handler"
	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

// Old keys stay for their time, and not longer for being rotated again; without
// a time to keep them all go, also those of rotations before.
func TestRotate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	c := &handler.Client{ID: "one"}
	check := func(secret string, until ...string) {
		t.Helper()
		if len(c.Secrets) != 1 || c.Secrets[0] != auth.HashSecret(secret).String() {
			t.Errorf("secrets %v", c.Secrets)
		}
		for i, old := range c.OldSecrets {
			if i >= len(until) || old.Until != until[i] || !strings.HasPrefix(old.Secret, "sha256:") {
				t.Errorf("old secret %d: %+v", i, old)
			}
		}
		if len(c.OldSecrets) != len(until) {
			t.Errorf("%d old secrets, want %d", len(c.OldSecrets), len(until))
		}
	}
	check(rotate(c, time.Hour, now))
	check(rotate(c, time.Hour, now), "2026-01-02T04:04:05Z")
	check(rotate(c, 10*time.Minute, now.Add(time.Minute)), "2026-01-02T04:04:05Z", "2026-01-02T03:15:05Z")
	check(rotate(c, time.Hour, now.Add(20*time.Minute)), "2026-01-02T04:04:05Z", "2026-01-02T04:24:05Z")
	check(rotate(c, 0, now.Add(21*time.Minute)))
}

// A patch changes what it names, takes away what it says is null, and makes
// nothing that a config would not take.
func TestPatched(t *testing.T) {
	const before = `{"id":"one","secrets":["sha256:x"],"models":["a","b"],"limits":[{"kind":"tokens","amount":5,"window":9007199254740993}],"metadata":{"team":"x","floor":"2"}}`
	for patch, want := range map[string]string{
		`{}`:                                    before,
		`{"models":["c"]}`:                      strings.Replace(before, `["a","b"]`, `["c"]`, 1),
		`{"models":null}`:                       strings.Replace(before, `"models":["a","b"],`, ``, 1),
		`{"disabled":true}`:                     strings.Replace(before, `"metadata"`, `"disabled":true,"metadata"`, 1),
		`{"metadata":null}`:                     strings.Replace(before, `,"metadata":{"team":"x","floor":"2"}`, ``, 1),
		`{"id":"one"}`:                          before,
		`{"metadata":{"team":null,"desk":"7"}}`: strings.Replace(before, `{"team":"x","floor":"2"}`, `{"desk":"7","floor":"2"}`, 1),
	} {
		var c, wanted handler.Client
		if json.Unmarshal([]byte(before), &c) != nil || json.Unmarshal([]byte(want), &wanted) != nil {
			t.Fatal("the test is wrong")
		}
		after, err := patched(&c, []byte(patch))
		if err != nil {
			t.Errorf("%s: %v", patch, err)
			continue
		}
		got, _ := encode(after)
		if expected, _ := encode(&wanted); !bytes.Equal(got, expected) {
			t.Errorf("%s: got %s, want %s", patch, got, expected)
		}
	}
	for _, patch := range []string{
		``, `[]`, `null`, `5`, `{"id":"two"}`, `{"id":null}`, `{"model":["x"]}`, `{"models":"x"}`, `{"models":{"a":1}}`, `{`,
		`{"Models":["x"]}`, `{"ID":"two"}`, `{"Id":"one"}`, `{"models":["x"]} {"disabled":true}`, `{"models":["x"]} x`,
	} {
		var c handler.Client
		if err := json.Unmarshal([]byte(before), &c); err != nil {
			t.Fatal(err)
		}
		if after, err := patched(&c, []byte(patch)); err == nil {
			t.Errorf("%s was taken: %+v", patch, after)
		}
	}
}

// Flags become the fields of a client in JSON; what is not given is not there,
// and what is empty is taken away.
func TestFlagsOfAClient(t *testing.T) {
	for args, want := range map[string]string{
		``:                                     `{}`,
		`--model a,b --model c`:                `{"models":["a","b","c"]}`,
		`--model a,|b`:                         `{"models":["a","b"]}`,
		`--model=`:                             `{"models":[]}`,
		`--provider openai --group staff`:      `{"groups":["staff"],"providers":["openai"]}`,
		`--expires 2026-12-31 --allow-ip ::1`:  `{"allow_ip":["::1"],"expires":"2026-12-31"}`,
		`--metadata a=b --metadata c=`:         `{"metadata":{"a":"b","c":null}}`,
		`--secret-hash=`:                       `{"secrets":[]}`,
		`--limit=`:                             `{"limits":[]}`,
		`--limit=tokens|5|day|UTC|models|gpt*`: `{"limits":[{"kind":"tokens","amount":5,"per":"day","time_zone":"UTC","models":["gpt*"]}]}`,
		`--limit=tokens`:                       ``,
		`--limit=money|5|day`:                  ``,
		`--limit=requests|5|day|each`:          ``,
		`--metadata team`:                      ``,
	} {
		cmd := new(cobra.Command)
		flags := addClientFlags(cmd)
		words := strings.Fields(args)
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "|", " ")
		}
		if err := cmd.ParseFlags(words); err != nil {
			t.Fatal(err)
		}
		fields, err := flags.changed(cmd)
		got, _ := json.Marshal(fields)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: taken as %s", args, got)
		case want != "" && (err != nil || string(got) != want):
			t.Errorf("%s: got %s, %v, want %s", args, got, err, want)
		}
	}
}

// A limit reads as it is spelled.
func TestLimitsAreSpelledAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"tokens 100000 1h0m0s", "cost 2.5 month Europe/Berlin", "concurrent 8", "requests 5 day models gpt-4o* o3"} {
		limit, err := handler.ParseLimit(text)
		if err != nil || limit.String() != text {
			t.Errorf("%s: got %v, %v", text, limit, err)
		}
	}
}
