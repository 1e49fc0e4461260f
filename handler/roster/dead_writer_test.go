// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/streaming/keep"
)

// dying is the storage of an instance that dies as soon as it has locked it.
type dying struct{ certmagic.FileStorage }

var errDead = errors.New("dead")

// Lock leaves what the storage's own leaves, without keeping it fresh.
func (d *dying) Lock(_ context.Context, name string) error {
	now := time.Now().Format(time.RFC3339Nano)
	text := fmt.Sprintf(`{"created":%q,"updated":%q}`, now, now)
	return os.WriteFile(filepath.Join(d.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock"), []byte(text), 0o600)
}

func (*dying) Unlock(context.Context, string) error        { return errDead }
func (*dying) Store(context.Context, string, []byte) error { return errDead }

// An instance that dies while it writes holds the others up for as long as its
// lock looks alive, and no longer: also if these have just written themselves,
// when the storage still keeps their lock fresh, which it knows by its name
// alone.
func TestDeadWriterHoldsNobodyUpForGood(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // until nothing is kept fresh any more
		survivor := newInstance(inFolder(dir))
		survivor.put(t, "one", `{}`)
		storages := new(keep.Storages)
		storages.Lend(dir, &dying{certmagic.FileStorage{Path: dir}})
		dead := newInstance(&storage{storages: storages})
		err := dead.Change(t.Context(), "dead", func([]byte) ([]byte, error) { return []byte(`{}`), nil })
		if !errors.Is(err, errDead) {
			t.Fatalf("got %v", err)
		}
		survivor.put(t, "two", `{}`)
		survivor.reads(t, map[string]string{"one": `{}`, "two": `{}`})
	})
}
