// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed83435595/caddy-llm-proxy/keypool/store"
)

// The streams. Each has about so many entries, of at most so many items, and of
// each at most so many entries are added at a time. What does not fit waits.
var streams = [...]struct {
	name           string
	entries, items int
}{
	facts: {"facts", 4000, 64},
	spent: {"spent", 1000, 64},
	pins:  {"pins", 16000, 16},
}

// The streams by their place in the list.
const (
	facts = iota
	spent
	pins
)

const (
	// version is that of the entries. Others are skipped.
	version = "1"
	// maxEntries is how many entries are added, or read of a stream, at once.
	maxEntries = 64
	// maxEntry is the longest entry that is looked at, in bytes.
	maxEntry = 256 << 10
)

// keyOf returns the name of a key in Redis. All are in one slot of a cluster, to
// be read together.
func keyOf(s *store.Store, name string) string { return s.Key("{pool}", name) }

// cursor is how far the streams were read.
type cursor struct {
	keys, ids [len(streams)]string
}

func newCursor(s *store.Store) (c cursor) {
	for i := range streams {
		c.keys[i], c.ids[i] = keyOf(s, streams[i].name), "0-0"
	}
	return c
}

// listen hears what the others have added, and waits for it a little.
func (s *Sharer) listen() error {
	args := &redis.XReadArgs{Streams: append(s.cursor.keys[:], s.cursor.ids[:]...), Count: maxEntries, Block: follow}
	if !s.caughtUp {
		args.Block = -1
	}
	ctx, cancel := context.WithTimeout(context.Background(), follow+s.opts.Store.Timeout())
	defer cancel()
	read, err := s.opts.Store.Client().XRead(ctx, args).Result()
	if errors.Is(err, redis.Nil) {
		s.caughtUp = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what others tell: %w", err)
	}
	now := time.Now()
	for _, stream := range read {
		for i := range streams {
			if stream.Stream != s.cursor.keys[i] {
				continue
			}
			for _, entry := range stream.Messages {
				s.hear(i, entry, now)
				s.cursor.ids[i] = entry.ID
			}
		}
	}
	return nil
}

// hear takes in one entry. What cannot be understood is for others.
func (s *Sharer) hear(stream int, entry redis.XMessage, now time.Time) {
	by, _ := entry.Values["by"].(string)
	text, _ := entry.Values[streams[stream].name].(string)
	if entry.Values["v"] != version || len(text) > maxEntry {
		return
	}
	at := s.clock.at(entry.ID, now)
	own := by == s.name
	switch stream {
	case facts:
		for _, f := range items[fact](text) {
			s.scope.hear(&f, at, now, own, s.opts.Heard)
		}
	case spent:
		for _, taken := range items[use](text) {
			if !own {
				s.scope.hearUse(&taken, at, now, !s.caughtUp)
			}
		}
	case pins:
		for _, made := range items[pin](text) {
			if !own {
				s.scope.hearPin(&made)
			}
		}
	}
}

// items reads the items of an entry; none if it is garbled.
func items[T any](text string) []T {
	var list []T
	if json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	return list
}

// tell adds what is to be told to the streams, in one exchange.
func (s *Sharer) tell(now time.Time) error {
	n := news{now: now}
	s.scope.gather(&n)
	if len(n.facts)+len(n.spent)+len(n.pins) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Store.Timeout())
	defer cancel()
	pipeline := s.opts.Store.Client().Pipeline()
	var added [len(streams)][]*redis.StringCmd
	added[facts] = add(ctx, s, pipeline, facts, n.facts)
	added[spent] = add(ctx, s, pipeline, spent, n.spent)
	added[pins] = add(ctx, s, pipeline, pins, n.pins)
	_, err := pipeline.Exec(ctx)
	for stream, entries := range added {
		if slices.ContainsFunc(entries, func(entry *redis.StringCmd) bool { return entry.Err() != nil }) {
			continue // it is told again
		}
		for _, told := range n.told[stream] {
			told()
		}
	}
	if err != nil {
		return fmt.Errorf("telling others: %w", err)
	}
	return nil
}

// room returns how many items may be added at a time.
func room(stream int) int { return maxEntries * streams[stream].items }

// add adds items to a stream.
func add[T any](ctx context.Context, s *Sharer, to redis.Pipeliner, stream int, list []T) (added []*redis.StringCmd) {
	of := &streams[stream]
	for some := range slices.Chunk(list, of.items) {
		text, _ := json.Marshal(some) // of strings and numbers
		added = append(added, to.XAdd(ctx, &redis.XAddArgs{
			Stream: s.cursor.keys[stream], MaxLen: int64(of.entries), Approx: true,
			Values: []any{"v", version, "by", s.name, of.name, text},
		}))
	}
	return added
}

// clock tells the time of Redis from that of this instance.
type clock struct{ ahead time.Duration }

// set sets the clock by an answer that says in its second and third part what
// time it was, in seconds and microseconds, between the asking and the answer.
func (c *clock) set(answer []string, asked, answered time.Time) error {
	if len(answer) != 3 {
		return errors.New("asking Redis for the time: it answers something else")
	}
	seconds, err := strconv.ParseInt(answer[1], 10, 64)
	micros, err2 := strconv.ParseInt(answer[2], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("asking Redis for the time: %w", err)
	}
	c.ahead = time.Unix(seconds, micros*1000).Sub(asked.Add(answered.Sub(asked) / 2))
	return nil
}

// at returns when an entry was added, by the clock of this instance: not later
// than now.
func (c *clock) at(id string, now time.Time) time.Time {
	digits, _, _ := strings.Cut(id, "-")
	millis, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || millis > math.MaxInt64/int64(time.Millisecond) {
		return now
	}
	if at := time.UnixMilli(millis).Add(-c.ahead); at.Before(now) {
		return at
	}
	return now
}
