// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/redisconf"
)

func managedEntry(id, key, more string) roster.Change {
	return roster.Change{ID: id, Text: []byte(fmt.Sprintf(`{"id":%q,"secrets":[%q]%s}`, id, auth.HashSecret(key).String(), more))}
}

// knows tells whether a key opens the door.
func knows(h *Handler, key string) bool {
	_, passed, _ := serve(h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+key))
	return passed
}

// What lies in a store is taken as strictly as a config; what is wrong harms
// only itself, and is said once.
func TestWrongManagedClientsHarmOnlyThemselves(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}, ClientsStore: "storage"}})
	h.logger = zap.New(core)
	placeholder := managedEntry("placeholder", "", "")
	placeholder.Text = []byte(`{"id":"placeholder","secrets":["{env.PATH}"]}`)
	old := managedEntry("old", "key-old", `,"old_secrets":[{"secret":"{env.PATH}","until":"2999-01-01"}]`)
	wrong := []roster.Change{
		managedEntry("misspelled", "key-1", `,"expire":"2026-01-01"`),
		managedEntry("limits", "key-2", `,"limits":[{"kind":"money","amount":1}]`),
		managedEntry("groups", "key-3", `,"groups":["none"]`),
		managedEntry("metadata", "key-4", `,"metadata":{"a b":"c"}`),
		managedEntry(t.Name(), "key-5", ""), // as in the config
		managedEntry("stolen", secret, ""),  // of a client in the config
		managedEntry("b", "key-a", ""),      // of another managed client
		{ID: "other", Text: managedEntry("another", "key-6", "").Text},
		{ID: "half", Text: []byte(`{"id":`)},
		{ID: "null", Text: []byte(`null`)},
		{ID: "none", Text: []byte(`{"id":"none"}`)},
		placeholder, old,
		managedEntry("null old secret", "key-7", `,"old_secrets":[null]`),
		managedEntry("null limit", "key-8", `,"limits":[null]`),
		managedEntry("null model", "key-9", `,"models":["m",null]`),
		managedEntry("null provider", "key-10", `,"providers":[null]`),
		managedEntry("null group", "key-11", `,"groups":[null]`),
		managedEntry("null address", "key-12", `,"allow_ip":[null]`),
		managedEntry(".", "key-13", ""),  // whom no path of the admin API
		managedEntry("..", "key-14", ""), // can name
	}
	h.managed.Take(append(slices.Clone(wrong), managedEntry("a", "key-a", ""), managedEntry("z", "key-z", "")))
	if !knows(h, "key-a") || !knows(h, "key-z") || !knows(h, secret) {
		t.Error("a right client is not known")
	}
	for i := range 15 {
		if knows(h, fmt.Sprint("key-", i)) {
			t.Errorf("key-%d opens the door", i)
		}
	}
	if knows(h, "key-old") {
		t.Error("a client with a placeholder is known")
	}
	for _, change := range wrong {
		if h.managed.Trouble(change.ID) == "" {
			t.Errorf("%s is in no trouble", change.ID)
		}
	}
	// Who looks at one of these is not handed a list with holes.
	for _, change := range wrong {
		if c, err := DecodeManaged(change.ID, change.Text); strings.HasPrefix(change.ID, "null ") && err == nil {
			t.Errorf("%s was read: %+v", change.ID, c)
		}
	}
	if client, _ := h.directory.Load().Find("key-a", time.Now()); client.ID != "a" {
		t.Errorf("the key of a is %q's", client.ID)
	}
	if logs.Len() != 1 || logs.All()[0].ContextMap()["clients"] != int64(len(wrong)) {
		t.Errorf("the log says %v", logs.All())
	}
	h.managed.Take(wrong)
	if logs.Len() != 1 {
		t.Error("what is wrong is said again")
	}
	h.managed.Take([]roster.Change{managedEntry("groups", "key-3", ""), {ID: "a"}})
	if !knows(h, "key-3") || h.managed.Trouble("groups") != "" || knows(h, "key-a") {
		t.Error("a client that was mended or removed is not")
	}
}

// The clients of the config and its file count before managed ones, which come
// back when those are gone.
func TestConfiguredClientsCountFirst(t *testing.T) {
	f := &clientsFile{t: t, path: filepath.Join(t.TempDir(), "clients.json")}
	f.write(`{"clients":[` + entry("x", "key-file") + `]}`)
	h := newHandler(t, &Handler{Callers: Callers{ClientsFile: f.path, ClientsStore: "storage"}})
	put := func(id, key string) error {
		return h.managed.lease.Change(t.Context(), id, func([]byte) ([]byte, error) { return managedEntry(id, key, "").Text, nil })
	}
	for id, key := range map[string]string{"x": "key-managed", "y": "key-y", "stolen": "key-later"} {
		if err := put(id, key); err != nil {
			t.Fatal(err)
		}
	}
	if !knows(h, "key-file") || knows(h, "key-managed") || !knows(h, "key-y") || !knows(h, "key-later") {
		t.Error("the wrong clients are known")
	}
	h.managed.begin()
	if err := put("x", "key-other"); err == nil || !strings.Contains(err.Error(), "the config has a client of this id") {
		t.Errorf("got %v", err)
	}
	again := &filewatch.File{Path: f.path, Holds: "clients", Most: maxClientsFile, Take: h.takeClients}
	f.write(`{"clients":[` + entry("z", "key-later") + `]}`)
	if _, _, err := again.Reread(); err != nil {
		t.Fatal(err)
	}
	if knows(h, "key-file") || !knows(h, "key-managed") || !knows(h, "key-y") {
		t.Error("the managed client has not come back")
	}
	if client, ok := h.directory.Load().Find("key-later", time.Now()); !ok || client.ID != "z" {
		t.Error("the file's client has not got its key")
	}
}

// What a client has used stays, whatever is changed about it.
func TestQuotaOutlivesAChange(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{ClientsStore: "storage"}})
	id := t.Name()
	h.managed.Take([]roster.Change{managedEntry(id, secret, `,"limits":[{"kind":"requests","amount":5,"per":"day"}]`)})
	for range 3 {
		remaining(t, h, "Requests")
	}
	h.managed.Take([]roster.Change{managedEntry(id, secret, `,"limits":[{"kind":"requests","amount":10,"per":"day"}]`)})
	if left := remaining(t, h, "Requests"); left != "6" {
		t.Errorf("%s requests are left, want 6", left)
	}
	h.managed.Take([]roster.Change{{ID: id}})
	checkRefused(t, h, request("/v1/chat/completions", chat), http.StatusUnauthorized, "invalid_api_key")
	h.managed.Take([]roster.Change{managedEntry(id, secret, `,"limits":[{"kind":"requests","amount":10,"per":"day"}]`)})
	if left := remaining(t, h, "Requests"); left != "5" {
		t.Errorf("%s requests are left, want 5", left)
	}
}

// Calls go on while clients change under them, and never see a client half.
func TestCallsWhileClientsChange(t *testing.T) {
	h := newHandler(t, &Handler{Callers: Callers{Clients: []*Client{newClient(t)}, ClientsStore: "storage"}})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprint("client-", n%10)
			change := managedEntry(id, fmt.Sprint("key-", n), "")
			if n%3 == 0 {
				change.Text = nil
			}
			h.managed.Take([]roster.Change{change})
		}
	}()
	for range 300 {
		if !knows(h, secret) {
			t.Error("a client that does not change is refused")
		}
	}
	close(stop)
	<-done
}

// Who is vouched for, and may be restricted by a client of the store, is not let
// in as long as nothing is known of that. Who is in the config is.
func TestVouchedForWithoutAStore(t *testing.T) {
	h := newHandler(t, &Handler{
		Callers:   Callers{Clients: []*Client{{ID: "max"}}, ClientsStore: "redis", Redis: &redisconf.Redis{Addresses: []string{"127.0.0.1:1"}}},
		TrustUser: &TrustUser{ID: "{http.request.header.X-User}"},
	})
	checkPassed(t, h, request("/v1/chat/completions", chat, "X-User", "max"))
	checkRefused(t, h, request("/v1/chat/completions", chat, "X-User", "moritz"), http.StatusServiceUnavailable, "auth_unavailable")
	checkRefused(t, h, request("/v1/chat/completions", chat), http.StatusServiceUnavailable, "auth_unavailable")
}

// What it takes to change one of a hundred thousand managed clients.
func BenchmarkChangeOneOfHundredThousand(b *testing.B) {
	h := &Handler{Callers: Callers{logger: zap.NewNop()}}
	var all []roster.Change
	for i := range 100_000 {
		all = append(all, managedEntry(fmt.Sprint("client-", i), fmt.Sprint("key-", i), ""))
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			h.managed.configure(&h.Callers, new(auth.Directory))
			h.managed.Take(all)
		}
	})
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.managed.Take(all[500:501])
		}
	})
}

// While the store cannot be read, what an issuer does not call good may still be
// the key of a client.
func TestUnknownKeyWithoutAStoreButAnIssuer(t *testing.T) {
	asked := 0
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"active":false}`)
	}))
	defer issuer.Close()
	h := newHandler(t, &Handler{Callers: Callers{
		Introspection: &Introspection{URL: issuer.URL, ClientID: "gateway", ClientSecret: "secret"},
		ClientsStore:  "redis", Redis: &redisconf.Redis{Addresses: []string{"127.0.0.1:1"}},
	}})
	for _, key := range []string{auth.NewSecret(), "a-token-that-nobody-knows"} {
		checkRefused(t, h, request("/v1/chat/completions", chat, "Authorization", "Bearer "+key), http.StatusServiceUnavailable, "auth_unavailable")
	}
	if asked != 1 {
		t.Errorf("the issuer was asked %d times", asked)
	}
}
