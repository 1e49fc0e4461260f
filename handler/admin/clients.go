// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler"
	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
)

// client is a managed client as operators see it: as a config has it, but with
// only the beginning of each hash.
type client struct {
	handler.Client
	// Store is where it is.
	Store string `json:"store"`
	// InForce is what holds for it, by what it says itself, its groups and the
	// blocks that admit it; of those that differ in this, each.
	InForce []handler.Holding `json:"in_force,omitempty"`
	// Trouble is why it is not admitted, if it is not.
	Trouble string `json:"trouble,omitempty"`
	// Secret is the key that was just made for it.
	Secret string `json:"secret,omitempty"`
}

func clientRoutes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		routeMethods("/llm/clients", map[string]handle{http.MethodGet: listClients, http.MethodPost: addClient}),
		routeMethods("/llm/clients/{id}", map[string]handle{
			http.MethodGet: showClient, http.MethodPatch: patchClient, http.MethodDelete: removeClient,
		}),
		route(http.MethodPost, "/llm/clients/{id}/{action}", operateClient),
	}
}

func listClients(r *http.Request) (any, error) {
	stores, err := storesFor(r)
	if err != nil {
		return nil, err
	}
	all := []client{}
	for _, store := range stores {
		for id, text := range store.Texts() {
			all = append(all, viewOf(store, id, text))
		}
	}
	slices.SortFunc(all, func(a, b client) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Store, b.Store)) })
	return all, nil
}

func showClient(r *http.Request) (any, error) {
	store, id, err := clientFor(r)
	if err != nil {
		return nil, err
	}
	return viewOf(store, id, store.Text(id)), nil
}

// addClient adds a client. One that comes without secrets is given one.
func addClient(r *http.Request) (any, error) {
	var c handler.Client
	if err := readBody(r, &c); err != nil {
		return nil, err
	}
	stores, err := storesFor(r)
	if err != nil {
		return nil, err
	}
	if c.Expired(time.Now()) {
		return nil, badRequest(fmt.Errorf("expires: %s is over, so the client could never call; give a later date, or none for access that does not end", c.Expires))
	}
	if len(stores) > 1 {
		return nil, conflict("there are several stores of clients: say by ?store= in which, of %s", names(stores))
	}
	return change(r, stores[0], c.ID, "added", func(before *handler.Client) (*handler.Client, string, error) {
		if before != nil {
			return nil, "", conflict("there is a client %q", c.ID)
		}
		made := c
		if made.Secrets != nil {
			return &made, "", nil
		}
		secret := replaceSecrets(&made)
		return &made, secret, nil
	})
}

func patchClient(r *http.Request) (any, error) {
	store, id, err := clientFor(r)
	if err != nil {
		return nil, err
	}
	patch, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	return change(r, store, id, "changed", func(before *handler.Client) (*handler.Client, string, error) {
		after, err := patched(before, patch)
		return after, "", err
	})
}

// removeClient takes a client out, also one that cannot be read.
func removeClient(r *http.Request) (any, error) {
	store, id, err := clientFor(r)
	if err != nil {
		return nil, err
	}
	removed := viewOf(store, id, store.Text(id))
	err = store.Change(r.Context(), id, func([]byte) ([]byte, error) { return nil, nil })
	if err != nil {
		return nil, asAPIError(err)
	}
	tellOfClient("removed", store, id)
	removed.Trouble = ""
	return removed, nil
}

// change changes a client, and answers with how it is then. edit gets nil for
// one that is not there; the secret that it returns is shown.
func change(r *http.Request, store *roster.Roster, id, what string, edit func(*handler.Client) (*handler.Client, string, error)) (any, error) {
	secret := ""
	err := store.Change(r.Context(), id, func(before []byte) ([]byte, error) {
		var known *handler.Client
		if before != nil {
			var err error
			if known, err = handler.DecodeManaged(id, before); err != nil {
				return nil, conflict("client %q is damaged in the store, and can only be removed: %v", id, err)
			}
		}
		after, made, err := edit(known)
		if err != nil {
			return nil, err
		}
		secret = made
		return encode(after)
	})
	if err != nil {
		return nil, asAPIError(err)
	}
	tellOfClient(what, store, id)
	view := viewOf(store, id, store.Text(id))
	view.Secret = secret
	return view, nil
}

// tellOfClient logs what an operator has done.
func tellOfClient(what string, store *roster.Roster, id string) {
	caddy.Log().Named("llm.clients").Info("client "+what, zap.String("client", id), zap.String("store", store.Name()))
}

// viewOf returns a client as operators see it.
func viewOf(store *roster.Roster, id string, text []byte) client {
	view := client{Store: store.Name()}
	for _, member := range store.InForce() {
		if view.Trouble = member.Trouble(id); view.Trouble != "" {
			break
		}
	}
	c, err := handler.DecodeManaged(id, text)
	if err != nil {
		view.ID, view.Trouble = id, cmp.Or(view.Trouble, err.Error())
		return view
	}
	view.Client, view.InForce = *c, handler.HoldingsOf(store, id)
	for i, hash := range view.Secrets {
		view.Secrets[i] = beginningOf(hash)
	}
	for _, old := range view.OldSecrets {
		old.Secret = beginningOf(old.Secret)
	}
	return view
}

// beginningOf returns as much of a hash as tells secrets from one another.
func beginningOf(hash string) string {
	const shown = len("sha256:") + 8
	return hash[:min(shown, len(hash))] + "…"
}

// storesFor returns the stores of the configs in force, or the one of them that
// the request names. There is at least one.
func storesFor(r *http.Request) ([]*roster.Roster, error) {
	stores := roster.All()
	if len(stores) == 0 {
		return nil, notFound("no config in force has managed clients; 'clients storage' or 'clients redis' in a block of llm_proxy says where they are")
	}
	for _, store := range stores {
		_ = store.Sync(r.Context()) // else what is known must do
	}
	wanted := r.URL.Query().Get("store")
	if wanted == "" {
		return stores, nil
	}
	for _, store := range stores {
		if store.Name() == wanted {
			return []*roster.Roster{store}, nil
		}
	}
	return nil, notFound(fmt.Sprintf("there is no store %q; there are %s", wanted, names(stores)))
}

func names(stores []*roster.Roster) string {
	var list []string
	for _, store := range stores {
		list = append(list, fmt.Sprintf("%q", store.Name()))
	}
	return strings.Join(list, ", ")
}

// clientFor returns the client that the request is about, and its store.
func clientFor(r *http.Request) (*roster.Roster, string, error) {
	id := r.PathValue("id")
	stores, err := storesFor(r)
	if err != nil {
		return nil, id, err
	}
	stores = slices.DeleteFunc(stores, func(store *roster.Roster) bool { return store.Text(id) == nil })
	switch len(stores) {
	case 0:
		return nil, id, notFound(fmt.Sprintf("there is no managed client %q; GET /llm/clients lists them", id))
	case 1:
		return stores[0], id, nil
	}
	return nil, id, conflict("client %q is in several stores: say by ?store= in which, of %s", id, names(stores))
}

// bodyOf returns the body of a request.
func bodyOf(r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, roster.MaxEntry))
	if err != nil {
		return nil, badRequest(fmt.Errorf("reading the body: %w", err))
	}
	if len(text) == 0 {
		return nil, badRequest(errors.New("a JSON object is needed as the body"))
	}
	return text, nil
}

// readBody reads the JSON object in the body.
func readBody(r *http.Request, into any) error {
	text, err := bodyOf(r)
	if err != nil {
		return err
	}
	if err := filewatch.Decode(text, into); err != nil {
		return badRequest(fmt.Errorf("reading the body: %w", err))
	}
	return nil
}

func badRequest(err error) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
}

func conflict(format string, args ...any) error {
	return caddy.APIError{HTTPStatus: http.StatusConflict, Err: fmt.Errorf(format, args...)}
}

// asAPIError says which status an error of a store is.
func asAPIError(err error) error {
	var known caddy.APIError
	var refused roster.RefusedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, handler.ErrConfigured):
		return conflict("%w", err)
	case errors.As(err, &refused):
		return badRequest(err)
	case errors.Is(err, roster.ErrUnreachable):
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
}
