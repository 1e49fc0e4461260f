// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"strings"
	"testing"
)

// A client is found by each of its secrets and by nothing else.
func TestFind(t *testing.T) {
	var d Directory
	if _, ok := d.Find(""); ok {
		t.Error("an empty directory knows somebody")
	}
	app := &Client{ID: "app"}
	if err := d.Add(app, HashSecret("old"), HashSecret("new")); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"old", "new"} {
		if client, ok := d.Find(secret); !ok || client != app {
			t.Errorf("%s: got %v", secret, client)
		}
	}
	for _, secret := range []string{"", "ol", "old ", "OLD", HashSecret("old").String()} {
		if _, ok := d.Find(secret); ok {
			t.Errorf("%q opens the door", secret)
		}
	}
}

// Clients that could not be told apart are refused; errors name no secret.
func TestAddRefuses(t *testing.T) {
	var d Directory
	if err := d.Add(&Client{ID: "a"}, HashSecret("s1")); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no id":           d.Add(&Client{}, HashSecret("s2")),
		"id twice":        d.Add(&Client{ID: "a"}, HashSecret("s2")),
		"long id":         d.Add(&Client{ID: strings.Repeat("b", 300)}, HashSecret("s3")),
		"control in id":   d.Add(&Client{ID: "b\n"}, HashSecret("s4")),
		"secret of other": d.Add(&Client{ID: "c"}, HashSecret("s1")),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), HashSecret("s1").String()) {
			t.Errorf("%s: the error holds the hash", name)
		}
	}
}

// Only a whole SHA-256 hash is one.
func TestParseDigest(t *testing.T) {
	good := HashSecret("x").String()
	if digest, err := ParseDigest(good); err != nil || digest != HashSecret("x") {
		t.Errorf("got %v, %v", digest, err)
	}
	for _, bad := range []string{"", "x", "sha256:", good[:len(good)-1], good + "0", "sha512:" + good[7:], "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The cost of a look-up does not depend on how many clients there are.
func BenchmarkFind(b *testing.B) {
	for name, clients := range map[string]int{"clients=10": 10, "clients=100000": 100_000} {
		b.Run(name, func(b *testing.B) {
			var d Directory
			for range clients {
				id := NewSecret()
				if err := d.Add(&Client{ID: id}, HashSecret(id)); err != nil {
					b.Fatal(err)
				}
			}
			known := NewSecret()
			_ = d.Add(&Client{ID: "known"}, HashSecret(known))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := d.Find(known); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
