// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A client is found by each of its secrets and by nothing else.
func TestFind(t *testing.T) {
	now := time.Now()
	var none Directory
	if _, ok := none.Find("", now); ok {
		t.Error("an empty directory knows somebody")
	}
	app := &Client{ID: "app"}
	d := add(t, &none, app, Secret{HashSecret("old"), now.Add(time.Hour)}, Secret{Digest: HashSecret("new")})
	for _, secret := range []string{"old", "new"} {
		if client, ok := d.Find(secret, now); !ok || client != app {
			t.Errorf("%s: got %v", secret, client)
		}
	}
	for _, secret := range []string{"", "ol", "old ", "OLD", HashSecret("old").String()} {
		if _, ok := d.Find(secret, now); ok {
			t.Errorf("%q opens the door", secret)
		}
	}
	if _, ok := d.Find("old", now.Add(time.Hour)); ok {
		t.Error("the old secret opens the door beyond its time")
	}
	if !d.Has("old") || !d.Has("new") || d.Has("other") || none.Has("old") {
		t.Error("it is not known whose secrets there have been")
	}
	if _, ok := d.Find("new", now.Add(100*365*24*time.Hour)); !ok {
		t.Error("the new secret does not open the door for ever")
	}
	if _, ok := add(t, &none, app, Secret{HashSecret("ancient"), time.Unix(0, 0)}).Find("ancient", now); ok {
		t.Error("a secret of 1970 opens the door")
	}
}

func add(t testing.TB, d *Directory, client *Client, secrets ...Secret) *Directory {
	t.Helper()
	edit := d.Edit()
	if err := edit.Add(client, secrets...); err != nil {
		t.Fatal(err)
	}
	return edit.Done()
}

// An edit makes another directory; the one that it began with stays as it is,
// whatever comes and goes.
func TestEditLeavesTheOtherAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	d := new(Directory)
	want := map[string]string{} // secrets by id
	check := func(d *Directory, want map[string]string) {
		t.Helper()
		if d.Len() != len(want) {
			t.Fatalf("%d clients, want %d", d.Len(), len(want))
		}
		for id, secret := range want {
			if client, ok := d.Find(secret, now); !ok || client.ID != id {
				t.Fatalf("%s is not found by its secret", id)
			}
			if client, ok := d.Named(id); !ok || client.ID != id {
				t.Fatalf("%s is not found by its id", id)
			}
		}
	}
	for round := range 300 {
		before, wanted := d, maps.Clone(want)
		edit := d.Edit()
		for range random.IntN(20) {
			id := fmt.Sprint("client-", random.IntN(300))
			if _, known := want[id]; known {
				edit.Remove(id)
				delete(want, id)
				continue
			}
			want[id] = fmt.Sprint(id, " ", round)
			if err := edit.Add(&Client{ID: id}, Secret{Digest: HashSecret(want[id])}); err != nil {
				t.Fatal(err)
			}
		}
		edit.Remove("nobody")
		d = edit.Done()
		check(before, wanted)
		check(d, want)
	}
	if _, ok := d.Find("client-1 0", now); ok && want["client-1"] != "client-1 0" {
		t.Error("a secret that was taken back opens the door")
	}
}

// Clients that could not be told apart are refused; errors name no secret.
func TestAddRefuses(t *testing.T) {
	edit := new(Directory).Edit()
	enter := func(id string, secrets ...string) error {
		var list []Secret
		for _, secret := range secrets {
			list = append(list, Secret{Digest: HashSecret(secret)})
		}
		return edit.Add(&Client{ID: id}, list...)
	}
	if err := enter("a", "s1"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no id":           enter("", "s2"),
		"id twice":        enter("a", "s2"),
		"long id":         enter(strings.Repeat("b", 300), "s3"),
		"control in id":   enter("b\n", "s4"),
		"secret of other": enter("c", "s5", "s1"),
		"secret twice":    enter("d", "s6", "s6"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), HashSecret("s1").String()) {
			t.Errorf("%s: the error holds the hash", name)
		}
	}
}

// Who was refused has left nothing behind.
func TestRefusedLeavesNothing(t *testing.T) {
	edit := add(t, new(Directory), &Client{ID: "a"}, Secret{Digest: HashSecret("s1")}).Edit()
	if err := edit.Add(&Client{ID: "b"}, Secret{Digest: HashSecret("s2")}, Secret{Digest: HashSecret("s1")}); err == nil {
		t.Fatal("accepted")
	}
	d := edit.Done()
	if _, ok := d.Find("s2", time.Now()); ok || edit.has("b") || d.Len() != 1 {
		t.Error("a part of the client was entered")
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
			edit := new(Directory).Edit()
			for range clients {
				id := NewSecret()
				if err := edit.Add(&Client{ID: id}, Secret{Digest: HashSecret(id)}); err != nil {
					b.Fatal(err)
				}
			}
			known := NewSecret()
			d := add(b, edit.Done(), &Client{ID: "known"}, Secret{Digest: HashSecret(known)})
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := d.Find(known, now); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

// To add one client to a hundred thousand takes microseconds.
func BenchmarkAddOne(b *testing.B) {
	edit := new(Directory).Edit()
	for range 100_000 {
		id := NewSecret()
		if err := edit.Add(&Client{ID: id}, Secret{Digest: HashSecret(id)}); err != nil {
			b.Fatal(err)
		}
	}
	d, one := edit.Done(), Secret{Digest: HashSecret("one")}
	b.ReportAllocs()
	for b.Loop() {
		add(b, d, &Client{ID: "one"}, one)
	}
}
