// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/seed83435595/caddy-llm-proxy/handler/auth"
)

const (
	// filePoll is how often the file is looked at.
	filePoll = 2 * time.Second
	// maxClientsFile bounds the file, in bytes. 100,000 clients take 11 MB.
	maxClientsFile = 256 << 20
)

// clientFile watches the file of clients. It belongs to one handler and ends
// with it.
type clientFile struct {
	path string
	// seen is the file as it was last read, well or not.
	seen       stamp
	stop, done chan struct{}
}

// stamp tells one state of a file from another. A file that is not there has
// one, too.
type stamp struct {
	modified time.Time
	size     int64
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{size: -1}
	}
	return stamp{info.ModTime(), info.Size()}
}

// openClients fills the directory, and watches the file if there is one. A
// file that is broken from the beginning is an error.
func (h *Handler) openClients() error {
	if h.ClientsFile == "" {
		return h.fillDirectory(nil)
	}
	f := &clientFile{path: h.ClientsFile, stop: make(chan struct{}), done: make(chan struct{})}
	if _, err := f.reread(h); err != nil {
		return err
	}
	h.file = f
	go f.watch(h)
	return nil
}

// watch reads the file again whenever it has changed.
func (f *clientFile) watch(h *Handler) {
	defer close(f.done)
	ticker := time.NewTicker(filePoll)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
		changed, err := f.reread(h)
		switch {
		case err != nil:
			h.logger.Error("the file of clients was not taken; what it said before holds", zap.Error(err))
		case changed:
			h.logger.Info("the file of clients has been read again", zap.Int("clients", h.directory.Load().Len()))
		}
	}
}

// close ends the watch.
func (f *clientFile) close() {
	if f != nil {
		close(f.stop)
		<-f.done
	}
}

// reread reads the file if it is another than the one that was seen, and
// tells whether its clients are in force now. What is wrong with it is said
// once.
func (f *clientFile) reread(h *Handler) (changed bool, err error) {
	now := stampOf(f.path)
	if now == f.seen {
		return false, nil
	}
	f.seen = now
	clients, err := readClients(f.path)
	if err == nil {
		err = h.fillDirectory(clients)
	}
	if err != nil {
		return false, fmt.Errorf("clients file %s: %w", f.path, err)
	}
	return true, nil
}

// readClients reads a file of clients. A field that is not known is an error:
// it may be a misspelled restriction.
func readClients(path string) ([]*Client, error) {
	text, err := readBounded(path, maxClientsFile)
	if err != nil {
		return nil, err
	}
	var content struct {
		Clients []*Client `json:"clients"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&content); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return content.Clients, nil
}

// fillDirectory replaces the directory by one with the clients of the config
// and these. If one of them is wrong, nothing changes.
func (h *Handler) fillDirectory(more []*Client) error {
	directory := new(auth.Directory)
	for _, clients := range [][]*Client{h.Clients, more} {
		for i, c := range clients {
			if c == nil {
				return fmt.Errorf("client %d: null", i+1)
			}
			if err := h.enter(directory, c); err != nil {
				return fmt.Errorf("client %d (%q): %w", i+1, c.ID, err)
			}
		}
	}
	h.directory.Store(directory)
	return nil
}

// enter adds a client to a directory.
func (h *Handler) enter(directory *auth.Directory, c *Client) error {
	client, digests, err := h.ready(c)
	if err != nil {
		return err
	}
	if len(digests) == 0 && !h.vouched() {
		return errors.New("a client needs a secret, unless jwt or trust_user tells who is calling")
	}
	return directory.Add(client, digests...)
}
