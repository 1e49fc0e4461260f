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
func (who *Callers) openClients(ctx caddy.Context) error {
	if err := who.managed.open(who, ctx); err != nil {
		return err
	}
	if who.ClientsFile == "" {
		return who.fillDirectory(nil, evaluated())
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(who.ClientsFile, true, true)
	if err != nil {
		return fmt.Errorf("clients file: %w", err)
	}
	who.file = &filewatch.File{Path: path, Holds: "clients", Most: maxClientsFile, Take: who.takeClients}
	return who.file.Open(who.logger)
}

// takeClients puts the clients of the file in force.
func (who *Callers) takeClients(text []byte) ([]zap.Field, error) {
	var content struct {
		Clients []*Client `json:"clients"`
	}
	err := filewatch.Decode(text, &content)
	if err == nil {
		err = who.fillDirectory(content.Clients, evaluated())
	}
	if err != nil {
		return nil, err
	}
	return []zap.Field{zap.Int("clients", who.managed.configured.Load().Len())}, nil
}

// fillDirectory replaces the directory by one with the clients of the config,
// with these, and with those that are managed. The secrets of the first two
// come by way of secret. If one of these is wrong, nothing changes.
func (who *Callers) fillDirectory(more []*Client, secret func(string) (string, error)) error {
	edit := new(auth.Directory).Edit()
	for _, clients := range [][]*Client{who.Clients, more} {
		for i, c := range clients {
			if c == nil {
				return fmt.Errorf("client %d: null", i+1)
			}
			if err := who.enter(edit, c, secret); err != nil {
				return c.line.Wrap(fmt.Errorf("client %d (%q): %w", i+1, c.ID, err))
			}
		}
	}
	who.managed.configure(who, edit.Done())
	who.costLimited.Store(who.limitsCost(more))
	return nil
}

// enter adds a client to a directory.
func (who *Callers) enter(edit *auth.Edit, c *Client, secret func(string) (string, error)) error {
	client, err := who.ready(c)
	if err != nil {
		return err
	}
	secrets, err := c.secrets(secret)
	if err != nil {
		return err
	}
	if len(secrets) == 0 && !who.vouched() {
		return errors.New("a client needs a secret, unless jwt, introspection or trust_user tells who is calling")
	}
	return edit.Add(client, secrets...)
}
