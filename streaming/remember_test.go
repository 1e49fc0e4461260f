// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	filestorage "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// remembering is a transport whose provider is remembered in a folder.
func remembering(t *testing.T, folder string, p *Provider) *Transport {
	t.Helper()
	storage := caddyconfig.JSONModuleObject(&filestorage.FileStorage{Root: folder}, "module", "file_system", nil)
	ctx, err := caddy.ProvisionContext(&caddy.Config{StorageRaw: storage})
	if err != nil {
		t.Fatal(err)
	}
	p.Name = t.Name()
	tr := &Transport{Providers: []*Provider{p}, Retry: quick, State: statePersist}
	t.Cleanup(func() { _ = tr.Cleanup() })
	if err := errors.Join(tr.Provision(ctx), tr.Validate()); err != nil {
		t.Fatal(err)
	}
	return tr
}

// filesIn returns what the files in a folder hold, and when they were written.
func filesIn(t *testing.T, folder string) (texts map[string]string, latest time.Time) {
	t.Helper()
	texts = map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		if info, statErr := entry.Info(); statErr == nil && info.ModTime().After(latest) {
			latest = info.ModTime()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts, latest
}

func restart(t *testing.T, tr *Transport) {
	t.Helper()
	if err := tr.Cleanup(); err != nil {
		t.Fatal(err)
	}
}

// Over a restart, a key that rests goes on resting, and what was stored is
// asked of the key that made it. No secret is written down.
func TestKeysAreRememberedOverARestart(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	storage := t.TempDir()
	v := newVault(t)
	var keys []string
	for _, key := range keysOf(t, 4) {
		keys = append(keys, "canary-secret-"+key)
	}
	named := func() *Provider {
		p := pool("", v.URL, keys...)
		for i, key := range p.Keys {
			key.ID = "id-" + string(rune('a'+i))
		}
		return p
	}
	v.limited[keys[2]] = true
	tr := remembering(t, storage, named())
	var ids []string
	for range 8 {
		_, text, _ := respond(t, tr, "", "")
		ids = append(ids, idIn(t, text))
	}
	if !tr.Providers[0].pool.Load().Disable("id-d") {
		t.Fatal("no such key")
	}
	restart(t, tr)

	tr = remembering(t, storage, named())
	for _, id := range ids {
		if v.owners[id] == keys[3] {
			continue // its key is out of use
		}
		if status, text, _ := respond(t, tr, id, ""); status != 200 {
			t.Errorf("%s: got %d %s", id, status, text)
		}
	}
	status := tr.Providers[0].pool.Load().Snapshot()
	if rest := time.Until(status[2].CoolingModels["gpt-4o"].Until); rest < 35*time.Second || rest > 40*time.Second {
		t.Errorf("the limited key rests %s", rest)
	}
	if status[3].State != "disabled" {
		t.Errorf("the key that was taken out is %+v", status[3])
	}
	restart(t, tr)
	texts, before := filesIn(t, storage)
	for path, text := range texts {
		if strings.Contains(path+text, "canary") {
			t.Errorf("a secret was written down in %s: %s", path, text)
		}
	}

	// Nothing is written that has not changed.
	restart(t, remembering(t, storage, named()))
	if _, after := filesIn(t, storage); !after.Equal(before) || len(texts) == 0 {
		t.Error("something was written although nothing has changed")
	}
}

// A storage that is away holds up neither the start nor a call, and what is
// known of keys that are not in the config is kept for later.
func TestRememberingWithoutItsStorage(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, key string) {
		if strings.HasPrefix(key, "bad-") {
			answerJSON(w, 401, `{"error":{"code":"invalid_api_key"}}`)
			return
		}
		answerJSON(w, 200, chatAnswer)
	})
	began := time.Now()
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tr := remembering(t, filepath.Join(blocked, "below"), pool("", up.URL, "good-"+t.Name()))
	if waited := time.Since(began); waited > 3*time.Second {
		t.Errorf("the start waited %s", waited)
	}
	if status, _, _ := chat(t, tr, chatBody); status != 200 {
		t.Errorf("got %d", status)
	}
	restart(t, tr)

	storage := t.TempDir()
	tr = remembering(t, storage, pool("", up.URL, "bad-"+t.Name(), "good-"+t.Name()))
	chat(t, tr, chatBody)
	chat(t, tr, chatBody)
	restart(t, tr)
	restart(t, remembering(t, storage, pool("", up.URL, "good-"+t.Name())))
	tr = remembering(t, storage, pool("", up.URL, "bad-"+t.Name(), "good-"+t.Name()))
	if status := tr.Providers[0].pool.Load().Snapshot()[0]; status.CoolingClass != keypool.ClassCredential {
		t.Errorf("the bad key is %+v", status)
	}
	asked := len(up.requests())
	chat(t, tr, chatBody)
	if n := len(up.requests()) - asked; n != 1 {
		t.Errorf("%d attempts, want one", n)
	}
}

// What cannot be understood is lost, and hinders nothing.
func TestGarbledMemory(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	storage := t.TempDir()
	v := newVault(t)
	tr := remembering(t, storage, pool("", v.URL, keysOf(t, 2)...))
	_, text, _ := respond(t, tr, "", "")
	restart(t, tr)
	texts, _ := filesIn(t, storage)
	for path := range texts {
		if err := os.WriteFile(path, []byte(`{"keys":[7`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tr = remembering(t, storage, pool("", v.URL, keysOf(t, 2)...))
	if status, _, _ := respond(t, tr, "", ""); status != 200 {
		t.Errorf("got %d", status)
	}
	if status, _, _ := respond(t, tr, idIn(t, text), ""); status != 200 && status != 404 {
		t.Errorf("got %d", status)
	}
}
