// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/handler/roster"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// What ClientsStore may be.
const (
	storeStorage = "storage"
	storeRedis   = "redis"
)

// ErrConfigured is that a managed client has the id of one in the config.
var ErrConfigured = errors.New("the config has a client of this id, which counts; it is changed there")

// managed is what a handler knows of the clients that are managed while Caddy
// runs.
type managed struct {
	who *Callers
	// lease is nil if the config asks for no store.
	lease *roster.Lease
	// inForce says that the handler's config is.
	inForce atomic.Bool
	// configured is the directory of those clients that the config and its file
	// have. They count before the managed ones.
	configured atomic.Pointer[auth.Directory]

	mu sync.Mutex
	// troubles say of managed clients why they are not in the directory.
	troubles map[string]string
}

// open opens the store of managed clients, if the config has one.
func (m *managed) open(who *Callers, ctx caddy.Context) (err error) {
	if err := who.checkStore(); err != nil {
		return err
	}
	switch who.ClientsStore {
	case storeStorage:
		m.lease, err = roster.OpenStorage(ctx.Storage())
	case storeRedis:
		in, release, err := who.Redis.Open()
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		if m.lease, err = roster.OpenRedis(in, ctx.Storage(), release); err != nil {
			return fmt.Errorf("clients redis: %w", err)
		}
	}
	return err
}

// checkStore refuses a store that cannot be opened.
func (who *Callers) checkStore() error {
	if who.ClientsStore == storeRedis && who.Redis == nil {
		return errors.New("clients redis: there is no 'redis' option in the block that says where it is")
	}
	return syntax.Check(syntax.Choice{Option: "clients_store", Value: who.ClientsStore, Known: []string{storeStorage, storeRedis}})
}

// begin says that the handler's config is in force.
func (m *managed) begin() {
	if m.inForce.Store(true); m.lease != nil {
		m.lease.Begin()
	}
}

// close gives the store back. The directory stays: there may be calls in
// flight.
func (m *managed) close() error {
	m.inForce.Store(false)
	if m.lease == nil {
		return nil
	}
	m.lease.Leave(m)
	return m.lease.Close()
}

// stale tells whether there may be clients that this instance has not heard of.
func (m *managed) stale() bool { return m.lease != nil && !m.lease.Fresh() }

// blind tells whether this instance has heard of no client at all. Then it does
// not know either what somebody may not whom others vouch for.
func (m *managed) blind() bool { return m.lease != nil && !m.lease.Heard() }

// configure puts the clients of the config in force, and the managed ones
// beside them.
func (m *managed) configure(who *Callers, configured *auth.Directory) {
	m.who = who
	first := m.configured.Load() == nil
	put := func(known []roster.Change) {
		m.configured.Store(configured)
		m.apply(configured.Edit(), known)
	}
	switch {
	case m.lease == nil:
		put(nil)
	case first:
		m.lease.Join(m, put)
	default:
		m.lease.Known(put)
	}
}

// Take puts changes of managed clients in force.
func (m *managed) Take(changes []roster.Change) {
	edit, configured := m.who.directory.Load().Edit(), m.configured.Load()
	for _, change := range changes {
		if _, has := configured.Named(change.ID); !has {
			edit.Remove(change.ID)
		}
	}
	m.apply(edit, changes)
}

// apply enters managed clients into a directory that has none of their ids but
// those of the config, and puts it in force. A client that is wrong harms none
// but itself; which of two that is who come with one secret, their ids decide.
func (m *managed) apply(edit *auth.Edit, changes []roster.Change) {
	changes = slices.SortedFunc(slices.Values(changes), func(a, b roster.Change) int { return strings.Compare(a.ID, b.ID) })
	troubles := map[string]string{}
	for _, change := range changes {
		if change.Text == nil {
			continue
		}
		if err := m.enter(edit, change); err != nil {
			troubles[change.ID] = err.Error()
		}
	}
	m.who.directory.Store(edit.Done())
	m.note(changes, troubles)
}

func (m *managed) enter(edit *auth.Edit, entry roster.Change) error {
	if _, has := m.configured.Load().Named(entry.ID); has {
		return ErrConfigured
	}
	c, err := DecodeManaged(entry.ID, entry.Text)
	if err != nil {
		return err
	}
	return m.who.enter(edit, c, asWritten) // they are hashes
}

// DecodeManaged reads a client as it lies in a store under its id. Its secrets
// are hashes and nothing else: a placeholder there could read what only this
// machine should.
func DecodeManaged(id string, text []byte) (*Client, error) {
	var c Client
	if err := filewatch.Decode(text, &c); err != nil {
		return nil, err
	}
	switch {
	case c.ID != id:
		return nil, errors.New("it stands under another id than its own")
	case id == "." || id == "..":
		return nil, fmt.Errorf("a client cannot have the id %q: in a path of the admin API it means another place", id)
	}
	if err := c.checkLists(); err != nil {
		return nil, err
	}
	texts := slices.Clone(c.Secrets)
	for _, old := range c.OldSecrets {
		texts = append(texts, old.Secret)
	}
	for _, text := range texts {
		if _, err := auth.ParseDigest(text); err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
	}
	return &c, nil
}

// checkLists refuses lists with nothing in one of their places: null there
// would be a restriction that somebody meant and that nobody knows.
func (c *Client) checkLists() error {
	for _, list := range []struct {
		name  string
		empty bool
	}{
		{"old_secrets", slices.Contains(c.OldSecrets, nil)},
		{"limits", slices.Contains(c.Limits, nil)},
		{"models", slices.Contains(c.Models, "")},
		{"providers", slices.Contains(c.Providers, "")},
		{"groups", slices.Contains(c.Groups, "")},
		{"allow_ip", slices.Contains(c.AllowIP, "")},
	} {
		if list.empty {
			return fmt.Errorf("%s: one of the list is null or empty; take it out", list.name)
		}
	}
	return nil
}

// note remembers what is wrong with which of the clients that have changed, and
// has the log say what is new of that.
func (m *managed) note(changes []roster.Change, troubles map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, change := range changes {
		id := change.ID
		trouble := troubles[id]
		if trouble == m.troubles[id] {
			continue
		}
		if trouble == "" {
			delete(m.troubles, id)
			continue
		}
		if m.troubles == nil {
			m.troubles = map[string]string{}
		}
		m.troubles[id], ids = trouble, append(ids, id)
	}
	if len(ids) > 0 {
		m.who.logger.Error("managed clients were not taken; the others are none the worse",
			zap.Int("clients", len(ids)), zap.String("first", ids[0]), zap.String("error", m.troubles[ids[0]]))
	}
}

// Trouble tells why the handler does not admit a managed client; "" if it does.
func (m *managed) Trouble(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.troubles[id]
}

// Check tells why the handler would not take a managed client.
func (m *managed) Check(id string, text []byte) error {
	edit := m.who.directory.Load().Edit()
	if _, has := m.configured.Load().Named(id); !has {
		edit.Remove(id)
	}
	return m.enter(edit, roster.Change{ID: id, Text: text})
}

// InForce tells whether the handler's config is in force.
func (m *managed) InForce() bool { return m.inForce.Load() }

// Interface guard
var _ roster.Member = (*managed)(nil)
