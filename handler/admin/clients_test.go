// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
)

// A client that somebody has damaged in the store is shown with what is wrong,
// and can be removed.
func TestDamagedClientIsShown(t *testing.T) {
	store, err := roster.OpenStorage(&certmagic.FileStorage{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, text := range []string{`{"id":"one","old_secrets":[null]}`, `{"id":"one","limits":[null]}`, `null`, `{"id":"two"}`, `"x"`} {
		put := func(text []byte) {
			t.Helper()
			if err := store.Change(t.Context(), "one", func([]byte) ([]byte, error) { return text, nil }); err != nil {
				t.Fatal(err)
			}
		}
		put([]byte(text))
		if view := viewOf(store.Roster, "one", store.Text("one")); view.ID != "one" || view.Trouble == "" {
			t.Errorf("%s is shown as %+v", text, view)
		}
		if put(nil); store.Text("one") != nil {
			t.Errorf("%s is still there", text)
		}
	}
}
