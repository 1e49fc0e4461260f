// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
	"github.com/seed83435595/caddy-llm-proxy/streaming/filewatch"
)

// maxClientsFile bounds the file of clients, in bytes. 100,000 clients take
// 11 MB.
const maxClientsFile = 256 << 20

// openClients fills the directory, and watches the file if there is one.
func (h *Handler) openClients(ctx caddy.Context) error {
	if err := h.managed.open(h, ctx); err != nil {
		return err
	}
	if h.ClientsFile == "" {
		return h.fillDirectory(nil)
	}
	h.file = &filewatch.File{Path: h.ClientsFile, Holds: "clients", Most: maxClientsFile, Take: h.takeClients}
	return h.file.Open(h.logger)
}

// takeClients puts the clients of the file in force.
func (h *Handler) takeClients(text []byte) ([]zap.Field, error) {
	var content struct {
		Clients []*Client `json:"clients"`
	}
	err := filewatch.Decode(text, &content)
	if err == nil {
		err = h.fillDirectory(content.Clients)
	}
	if err != nil {
		return nil, err
	}
	return []zap.Field{zap.Int("clients", h.managed.configured.Load().Len())}, nil
}

// fillDirectory replaces the directory by one with the clients of the config,
// with these, and with those that are managed. If one of these is wrong,
// nothing changes.
func (h *Handler) fillDirectory(more []*Client) error {
	edit := new(auth.Directory).Edit()
	for _, clients := range [][]*Client{h.Clients, more} {
		for i, c := range clients {
			if c == nil {
				return fmt.Errorf("client %d: null", i+1)
			}
			if err := h.enter(edit, c); err != nil {
				return fmt.Errorf("client %d (%q): %w", i+1, c.ID, err)
			}
		}
	}
	h.managed.configure(h, edit.Done())
	return nil
}

// enter adds a client to a directory.
func (h *Handler) enter(edit *auth.Edit, c *Client) error {
	client, secrets, err := h.ready(c)
	if err != nil {
		return err
	}
	if len(secrets) == 0 && !h.vouched() {
		return errors.New("a client needs a secret, unless jwt or trust_user tells who is calling")
	}
	return edit.Add(client, secrets...)
}
