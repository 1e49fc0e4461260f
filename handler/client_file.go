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
func (h *Handler) openClients() error {
	if h.ClientsFile == "" {
		return h.fillDirectory(nil, evaluated())
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(h.ClientsFile, true, true)
	if err != nil {
		return fmt.Errorf("clients file: %w", err)
	}
	h.file = &filewatch.File{Path: path, Holds: "clients", Most: maxClientsFile, Take: h.takeClients}
	return h.file.Open(h.logger)
}

// takeClients puts the clients of the file in force.
func (h *Handler) takeClients(text []byte) ([]zap.Field, error) {
	var content struct {
		Clients []*Client `json:"clients"`
	}
	err := filewatch.Decode(text, &content)
	if err == nil {
		err = h.fillDirectory(content.Clients, evaluated())
	}
	if err != nil {
		return nil, err
	}
	return []zap.Field{zap.Int("clients", h.directory.Load().Len())}, nil
}

// fillDirectory replaces the directory by one with the clients of the config
// and these, whose secrets come by way of secret. If one of them is wrong,
// nothing changes.
func (h *Handler) fillDirectory(more []*Client, secret func(string) (string, error)) error {
	directory := new(auth.Directory)
	for _, clients := range [][]*Client{h.Clients, more} {
		for i, c := range clients {
			if c == nil {
				return fmt.Errorf("client %d: null", i+1)
			}
			if err := h.enter(directory, c, secret); err != nil {
				return c.line.Wrap(fmt.Errorf("client %d (%q): %w", i+1, c.ID, err))
			}
		}
	}
	h.directory.Store(directory)
	h.costLimited.Store(h.limitsCost(more))
	return nil
}

// enter adds a client to a directory.
func (h *Handler) enter(directory *auth.Directory, c *Client, secret func(string) (string, error)) error {
	client, err := h.ready(c)
	if err != nil {
		return err
	}
	digests, err := c.digests(secret)
	if err != nil {
		return err
	}
	if len(digests) == 0 && !h.vouched() {
		return errors.New("a client needs a secret, unless jwt or trust_user tells who is calling")
	}
	return directory.Add(client, digests...)
}
