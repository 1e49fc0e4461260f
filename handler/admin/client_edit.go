// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/handler"
	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
)

// defaultKeep is how long an old secret stays valid, if nobody says.
const defaultKeep = 24 * time.Hour

// rotation says how a secret is replaced.
type rotation struct {
	// Keep is how long the old one stays valid. Default: 24h.
	Keep *caddy.Duration `json:"keep"`
}

// operateClient does something to a client that has a name of its own.
func operateClient(r *http.Request) (any, error) {
	action := r.PathValue("action")
	var edit func(*handler.Client) (*handler.Client, string, error)
	done := action + "d"
	switch action {
	case "disable", "enable":
		edit = func(c *handler.Client) (*handler.Client, string, error) {
			c.Disabled = action == "disable"
			return c, "", nil
		}
	case "rotate":
		keep, err := keepOf(r)
		if err != nil {
			return nil, err
		}
		edit = func(c *handler.Client) (*handler.Client, string, error) {
			return c, rotate(c, keep, time.Now()), nil
		}
	default:
		return nil, notFound(fmt.Sprintf("unknown action %q; a client can be rotated, disabled and enabled", action))
	}
	store, id, err := clientFor(r)
	if err != nil {
		return nil, err
	}
	return change(r, store, id, done, func(c *handler.Client) (*handler.Client, string, error) {
		if c == nil {
			return nil, "", notFound(fmt.Sprintf("client %q has just been removed", id))
		}
		return edit(c)
	})
}

// keepOf reads how long the old secret is to stay valid. The body may be empty.
func keepOf(r *http.Request) (time.Duration, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<10))
	if err != nil {
		return 0, badRequest(fmt.Errorf("reading the body: %w", err))
	}
	var said rotation
	if len(text) > 0 {
		if err := filewatch.Decode(text, &said); err != nil {
			return 0, badRequest(fmt.Errorf("reading the body: %w", err))
		}
	}
	if said.Keep == nil {
		return defaultKeep, nil
	}
	if *said.Keep < 0 {
		return 0, badRequest(errors.New("keep: must not be negative"))
	}
	return time.Duration(*said.Keep), nil
}

// rotate replaces a client's secrets and returns the new one. The old ones stay
// valid for a while; with none, all of them end at once, also those of the
// rotations before.
func rotate(c *handler.Client, keep time.Duration, now time.Time) string {
	old := slices.DeleteFunc(c.OldSecrets, func(o *handler.OldSecret) bool {
		until, err := time.Parse(time.RFC3339, o.Until)
		return keep == 0 || err == nil && !now.Before(until)
	})
	for _, hash := range c.Secrets {
		if keep > 0 {
			old = append(old, &handler.OldSecret{Secret: hash, Until: now.Add(keep).UTC().Truncate(time.Second).Format(time.RFC3339)})
		}
	}
	c.OldSecrets = old
	return replaceSecrets(c)
}

// replaceSecrets gives a client a new secret in the place of those it has, and
// returns it.
func replaceSecrets(c *handler.Client) string {
	secret := auth.NewSecret()
	c.Secrets = []string{auth.HashSecret(secret).String()}
	return secret
}

// patched returns a client as a JSON merge patch (RFC 7396) has it.
func patched(before *handler.Client, patch []byte) (*handler.Client, error) {
	if before == nil {
		return nil, notFound("the client has just been removed")
	}
	text, err := encode(before)
	if err != nil {
		return nil, err
	}
	var target, changes any
	if err := errors.Join(decodeAny(text, &target), decodeAny(patch, &changes)); err != nil {
		return nil, badRequest(fmt.Errorf("reading the body: %w", err))
	}
	if err := checkMembers(changes); err != nil {
		return nil, badRequest(fmt.Errorf("reading the body: %w", err))
	}
	if text, err = json.Marshal(merged(target, changes)); err != nil {
		return nil, badRequest(err)
	}
	var after handler.Client
	if err := filewatch.Decode(text, &after); err != nil {
		return nil, badRequest(fmt.Errorf("reading the body: %w", err))
	}
	if after.ID != before.ID {
		return nil, badRequest(errors.New("a client's id cannot be changed: what it has used is counted under it"))
	}
	return &after, nil
}

// checkMembers refuses a patch that is no object, or that has members which a
// client has not. Their case counts: a member that is spelled in another one
// would stand beside the one that is meant, and change nothing.
func checkMembers(patch any) error {
	changes, ok := patch.(map[string]any)
	if !ok {
		return errors.New("not a JSON object")
	}
	known := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[handler.Client]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[name] = field.IsExported()
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if !known[name] {
			return fmt.Errorf("unknown field %q", name)
		}
	}
	return nil
}

func merged(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(object, name)
			continue
		}
		object[name] = merged(object[name], value)
	}
	return object
}

// decodeAny reads the one JSON value that a text holds, and keeps its numbers as
// they are.
func decodeAny(text []byte, into *any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// encode returns a client as it lies in a store.
func encode(c *handler.Client) ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a client: %w", err)
	}
	return text, nil
}
