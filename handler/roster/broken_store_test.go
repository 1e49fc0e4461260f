// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/redistest"
)

// As long as a store cannot be read, what is known of it holds, and nothing can
// be changed.
func TestBrokenStoreKeepsWhatIsKnown(t *testing.T) {
	dir := t.TempDir()
	i := newInstance(inFolder(dir))
	i.put(t, "one", `{}`)
	i.reads(t, map[string]string{"one": `{}`})
	index := filepath.Join(dir, folder, "index.json")
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{"", "{", "{}", "null", `{"generation":5}`} {
		if err := os.WriteFile(index, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := i.Sync(t.Context()); err == nil || i.Fresh() {
			t.Errorf("an index %q was read", damage)
		}
		err := i.Change(t.Context(), "two", func([]byte) ([]byte, error) { return []byte(`{}`), nil })
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("with an index %q: %v", damage, err)
		}
		i.knows(t, map[string]string{"one": `{}`})
	}
	if err := os.WriteFile(index, text, 0o600); err != nil {
		t.Fatal(err)
	}
	i.put(t, "two", `{}`)
	i.reads(t, map[string]string{"one": `{}`, "two": `{}`})
	if !i.Fresh() {
		t.Error("not fresh again")
	}
}

// A part of a storage that is damaged, or gone, harms only itself.
func TestDamagedPartHarmsOnlyItself(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"damaged": func(file string) error { return os.WriteFile(file, []byte(`{"one":{`), 0o600) },
		"gone":    os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a, b := newInstance(inFolder(dir)), newInstance(inFolder(dir))
			a.put(t, "one", `{}`)
			b.reads(t, map[string]string{"one": `{}`})
			file := filepath.Join(dir, folder, partName(partOf("one"))+".json")
			text, err := os.ReadFile(file)
			if err == nil {
				err = damage(file)
			}
			if err != nil {
				t.Fatal(err)
			}
			a.put(t, "two", `{}`)
			b.anew()
			if err := b.Sync(t.Context()); err == nil || b.Fresh() {
				t.Error("nobody says that a part is damaged")
			}
			b.knows(t, map[string]string{"one": `{}`, "two": `{}`})
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			b.reads(t, map[string]string{"one": `{}`, "two": `{}`})
		})
	}
}

// Who has missed more changes in Redis than its log tells reads everything.
func TestLogThatDoesNotTell(t *testing.T) {
	server := redistest.Start(t)
	a, b := newInstance(inRedis(t, server, "p")), newInstance(inRedis(t, server, "p"))
	want := map[string]string{}
	for n := range 3 {
		id := fmt.Sprint("client-", n)
		want[id] = `{}`
		a.put(t, id, `{}`)
	}
	b.reads(t, want)
	client := inRedis(t, server, "p").store.Client()
	a.put(t, "client-0", "")
	delete(want, "client-0")
	if err := client.Del(t.Context(), "p:{clients}:changes").Err(); err != nil {
		t.Fatal(err)
	}
	b.reads(t, want)
	// A replica that was behind has taken over.
	if err := client.HSet(t.Context(), "p:{clients}:entries", versionField, 1).Err(); err != nil {
		t.Fatal(err)
	}
	b.reads(t, want)
	if err := client.HSet(t.Context(), "p:{clients}:entries", versionField, "x").Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(t.Context()); err == nil {
		t.Error("a damaged counter was read")
	}
	b.knows(t, want)
}

// A copy knows what its roster did; the store's word beats it.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	a := newInstance(inFolder(dir))
	for n := range 50 {
		a.put(t, fmt.Sprint("client-", n), `{}`)
	}
	restored, late := newInstance(inFolder(t.TempDir())), newInstance(inFolder(dir))
	late.reads(t, a.known())
	a.put(t, "client-1", "")
	late.reads(t, a.known())
	written := 0
	for part := range partCount {
		text, changed, err := book{a.Roster}.Snapshot(time.Now(), part)
		if err != nil {
			t.Fatal(err)
		}
		if !changed {
			continue
		}
		written++
		for _, to := range []instance{restored, late} {
			if err := (book{to.Roster}).Restore(time.Now(), text); err != nil {
				t.Fatal(err)
			}
		}
	}
	restored.knows(t, a.known())
	late.knows(t, a.known())
	a.put(t, "client-2", "")
	for part := range partCount {
		_, changed, _ := book{a.Roster}.Snapshot(time.Now(), part)
		if changed != (part == partOf("client-2")) {
			t.Errorf("part %d: changed %t", part, changed)
		}
	}
	if err := (book{restored.Roster}).Restore(time.Now(), []byte(`{"x":`)); err == nil {
		t.Error("half a copy was taken in")
	}
	if written == 0 || written > 50 {
		t.Errorf("%d parts were written", written)
	}
}

// A change that cannot be counted is not made: nobody would hear of it.
func TestDamagedCounterChangesNothing(t *testing.T) {
	i := newInstance(inRedis(t, redistest.Start(t), "p"))
	i.put(t, "one", `{}`)
	client, entries := i.backend.(*shared).store.Client(), i.backend.(*shared).clients()
	if err := client.HSet(t.Context(), entries, versionField, "x").Err(); err != nil {
		t.Fatal(err)
	}
	for id, text := range map[string][]byte{"two": []byte(`{}`), "one": nil} {
		if err := i.Change(t.Context(), id, func([]byte) ([]byte, error) { return text, nil }); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: got %v", id, err)
		}
	}
	if kept := client.HGetAll(t.Context(), entries).Val(); kept["one"] != `{}` || kept["two"] != "" {
		t.Errorf("the store has %v", kept)
	}
	// Without a counter the next change begins another one.
	if err := client.HDel(t.Context(), entries, versionField).Err(); err != nil {
		t.Fatal(err)
	}
	i.put(t, "two", `{}`)
	i.reads(t, map[string]string{"one": `{}`, "two": `{}`})
}
