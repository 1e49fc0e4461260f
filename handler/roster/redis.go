// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

const (
	// logged is how many changes the log keeps. Who has missed more reads all
	// clients again.
	logged = 10_000
	// atOnce is how many clients go over the connection in one command.
	atOnce = 500
	// fillTime is how long clients wait in Redis to be put in their place.
	fillTime = time.Minute
)

// Two fields of the hash are no clients: whose ids have no control characters.
const (
	generationField = "\x01generation"
	versionField    = "\x01version"
)

var (
	//go:embed write.lua
	writeSource string
	writeScript = redis.NewScript(writeSource)
	//go:embed fill.lua
	fillSource string
	fillScript = redis.NewScript(fillSource)
)

// shared keeps clients in Redis: all in one hash, together with a counter of
// changes, so that they are there or lost together. A stream tells which client
// each of the last changes was about.
type shared struct {
	store *store.Store
	// generation and version are what was last read.
	generation string
	version    int64
}

func (s *shared) clients() string { return s.store.Key("{clients}", "entries") }
func (s *shared) log() string     { return s.store.Key("{clients}", "changes") }

// timed returns a context for one command.
func (s *shared) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.store.Timeout())
}

func (s *shared) forget() { s.generation = "" }

func (s *shared) read(ctx context.Context) (news, error) {
	generation, version, err := s.state(ctx)
	if err != nil || generation == s.generation && version == s.version {
		return news{}, err
	}
	var n news
	complete := generation == s.generation && version > s.version && version-s.version <= logged
	if complete {
		n, complete, err = s.changes(ctx, version)
	}
	if err == nil && !complete {
		n, err = s.all(ctx)
	}
	if err != nil {
		return news{}, err
	}
	s.generation, s.version = generation, version
	return n, nil
}

// state returns which life of the store this is, and how many changes it has
// seen.
func (s *shared) state(ctx context.Context) (generation string, version int64, err error) {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	values, err := s.store.Client().HMGet(ctx, s.clients(), generationField, versionField).Result()
	if err != nil {
		return "", 0, fmt.Errorf("reading clients: %w", err)
	}
	generation, ok := values[0].(string)
	if !ok {
		return "", 0, errLost
	}
	text, _ := values[1].(string)
	if version, err = strconv.ParseInt(text, 10, 64); err != nil {
		return "", 0, fmt.Errorf("reading clients: their counter is damaged: %w", err)
	}
	return generation, version, nil
}

// changes returns what has changed up to a version. It says false if the log
// does not tell.
func (s *shared) changes(ctx context.Context, version int64) (n news, complete bool, err error) {
	var ids []string
	seen := map[string]bool{}
	for from := s.version + 1; from <= version; from += atOnce {
		to := min(from+atOnce-1, version)
		entries, err := s.logOf(ctx, from, to)
		if err != nil || int64(len(entries)) != to-from+1 {
			return news{}, false, err
		}
		for _, entry := range entries {
			id, _ := entry.Values["id"].(string)
			if !seen[id] {
				seen[id], ids = true, append(ids, id)
			}
		}
	}
	n.texts = make(map[string][]byte, len(ids))
	for begin := 0; begin < len(ids); begin += atOnce {
		if err := s.texts(ctx, ids[begin:min(begin+atOnce, len(ids))], &n); err != nil {
			return news{}, false, err
		}
	}
	return n, true, nil
}

func (s *shared) logOf(ctx context.Context, from, to int64) ([]redis.XMessage, error) {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	entries, err := s.store.Client().XRange(ctx, s.log(), strconv.FormatInt(from, 10)+"-0", strconv.FormatInt(to, 10)+"-0").Result()
	if err != nil {
		return nil, fmt.Errorf("reading what has changed of clients: %w", err)
	}
	return entries, nil
}

// texts adds what has become of some clients.
func (s *shared) texts(ctx context.Context, ids []string, n *news) error {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	values, err := s.store.Client().HMGet(ctx, s.clients(), ids...).Result()
	if err != nil {
		return fmt.Errorf("reading clients: %w", err)
	}
	for i, value := range values {
		if text, ok := value.(string); ok {
			n.texts[ids[i]] = []byte(text)
		} else {
			n.gone = append(n.gone, ids[i])
		}
	}
	return nil
}

// all returns all clients. What changes meanwhile is among the next changes.
func (s *shared) all(ctx context.Context) (news, error) {
	n := news{texts: map[string][]byte{}, whole: func(int) bool { return true }}
	for cursor := uint64(0); ; {
		fields, next, err := s.page(ctx, cursor)
		if err != nil {
			return news{}, err
		}
		for i := 0; i+1 < len(fields); i += 2 {
			if id := fields[i]; id != generationField && id != versionField {
				n.texts[id] = []byte(fields[i+1])
			}
		}
		if cursor = next; cursor == 0 {
			return n, nil
		}
	}
}

func (s *shared) page(ctx context.Context, cursor uint64) (fields []string, next uint64, err error) {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	fields, next, err = s.store.Client().HScan(ctx, s.clients(), cursor, "", atOnce).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("reading all clients: %w", err)
	}
	return fields, next, nil
}

func (s *shared) write(ctx context.Context, id string, before, after []byte) error {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	done, err := writeScript.Run(ctx, s.store.Client(), []string{s.clients(), s.log()}, id, before, after, logged).Int()
	switch {
	case err != nil:
		return fmt.Errorf("writing a client: %w", err)
	case done < 0:
		return errLost
	case done == 0:
		return errMoved
	}
	return nil
}

// fill hands the clients over piece by piece, beside the place where they
// belong, and puts them there in one step.
func (s *shared) fill(ctx context.Context, texts map[string][]byte) error {
	aside := s.store.Key("{clients}", "fill", rand.Text())
	batch := make([]any, 0, 2*atOnce)
	for id, text := range texts {
		if batch = append(batch, id, text); len(batch) == cap(batch) {
			if err := s.put(ctx, aside, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) > 0 {
		if err := s.put(ctx, aside, batch); err != nil {
			return err
		}
	}
	ctx, cancel := s.timed(ctx)
	defer cancel()
	if err := fillScript.Run(ctx, s.store.Client(), []string{s.clients(), s.log(), aside}, rand.Text()).Err(); err != nil {
		return fmt.Errorf("filling the store of clients: %w", err)
	}
	return nil
}

// put adds to the clients that are handed over. If that comes to nothing, they
// go by themselves.
func (s *shared) put(ctx context.Context, aside string, batch []any) error {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	pipeline := s.store.Client().Pipeline()
	pipeline.HSet(ctx, aside, batch...)
	pipeline.Expire(ctx, aside, fillTime)
	if _, err := pipeline.Exec(ctx); err != nil {
		return fmt.Errorf("filling the store of clients: %w", err)
	}
	return nil
}

// Interface guard
var _ backend = (*shared)(nil)
