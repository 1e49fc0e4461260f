// SPDX-License-Identifier: Apache-2.0

// Package simulator is a provider that makes everything up. It speaks the
// APIs of OpenAI, Anthropic and Gemini, plain, streamed and in sessions, and
// fails on demand, so that a gateway can be tried, tested and measured without
// one.
//
// [Simulator] is an ordinary http.Handler; [Handler] makes it a Caddy module.
package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Options say how a simulator answers.
type Options struct {
	// FirstToken is the time before the first chunk of an answer, Delay that
	// between chunks. Default: none.
	FirstToken, Delay time.Duration
	// Chunks is how many chunks of text an answer has. Default: 20.
	Chunks int
	// ChunkSize is how many bytes each chunk has; 0 means one word of its own
	// length.
	ChunkSize int
	// Stamps puts the time at which it is sent into each chunk of a stream, in
	// front of its text: @, Unix nanoseconds in 19 digits, @. A load generator
	// can then tell how long a chunk was on its way.
	Stamps bool
	// Models are the models that are listed. Any other is answered, too.
	Models []string
	// Keys are the keys that are known. With none, every key is good.
	Keys []Key
	// Rules say what is different for some models. The first that matches
	// counts.
	Rules []Rule
	// Fault strikes every call that no key's or rule's fault strikes.
	Fault Fault
}

// Key is a key that the simulator knows, and what happens to those who use it.
type Key struct {
	Secret string
	Fault  Fault
}

// Rule is how the models that match are answered.
type Rule struct {
	// Match is a pattern in which an asterisk stands for any text without a
	// slash.
	Match string
	Fault Fault
	// FirstToken, Delay and Chunks are as in Options; 0 means what stands
	// there.
	FirstToken, Delay time.Duration
	Chunks            int
}

const (
	defaultChunks = 20
	// maxBody is the largest request that is read, in bytes.
	maxBody = 64 << 20
)

var defaultModels = []string{"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "text-embedding-3-small"}

// Simulator is a provider that makes everything up. It is safe for concurrent
// use.
type Simulator struct {
	opts  Options
	keys  map[[sha256.Size]byte]*Key
	stats stats
}

// New returns a simulator.
func New(opts Options) *Simulator {
	if opts.Chunks == 0 {
		opts.Chunks = defaultChunks
	}
	if len(opts.Models) == 0 {
		opts.Models = defaultModels
	}
	s := &Simulator{
		opts:  opts,
		keys:  map[[sha256.Size]byte]*Key{},
		stats: stats{keys: map[string]int{}, models: map[string]int{}},
	}
	for i := range opts.Keys {
		s.keys[sha256.Sum256([]byte(opts.Keys[i].Secret))] = &s.opts.Keys[i]
	}
	return s
}

// ServeHTTP answers one call.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == statsPath {
		writeJSON(w, http.StatusOK, s.Stats())
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request body is too large or incomplete", http.StatusRequestEntityTooLarge)
		return
	}
	api, model := recognize(r)
	c := &call{api: api, request: r, model: model}
	_ = json.Unmarshal(body, &c.body) // a GET, a form: nothing to read
	c.read()

	secret := secretOf(r)
	key, known := s.find(secret)
	s.stats.count(secret, c.model)
	if !known {
		c.fail(w, Fault{Name: FaultInvalidKey})
		return
	}
	rule := s.rule(c.model)
	c.pace = s.pace(rule)
	s.answer(w, c, s.fault(key, rule))
}

// find returns the key with that secret. Any key is good if none is known.
func (s *Simulator) find(secret string) (*Key, bool) {
	if len(s.keys) == 0 {
		return nil, true
	}
	digest := sha256.Sum256([]byte(secret))
	key, ok := s.keys[digest]
	return key, ok && subtle.ConstantTimeCompare([]byte(key.Secret), []byte(secret)) == 1
}

func (s *Simulator) rule(model string) *Rule {
	for i := range s.opts.Rules {
		if ok, _ := path.Match(s.opts.Rules[i].Match, model); ok {
			return &s.opts.Rules[i]
		}
	}
	return nil
}

// fault returns what is to happen: to the key, else to the model, else to all.
func (s *Simulator) fault(key *Key, rule *Rule) Fault {
	if key != nil && key.Fault.strikes() {
		return key.Fault
	}
	if rule != nil && rule.Fault.strikes() {
		return rule.Fault
	}
	if s.opts.Fault.strikes() {
		return s.opts.Fault
	}
	return Fault{}
}

// pace is how fast and how much is answered.
type pace struct {
	firstToken, delay time.Duration
	chunks, size      int
	stamps            bool
}

func (s *Simulator) pace(rule *Rule) pace {
	p := pace{s.opts.FirstToken, s.opts.Delay, s.opts.Chunks, s.opts.ChunkSize, s.opts.Stamps}
	if rule == nil {
		return p
	}
	if rule.FirstToken > 0 {
		p.firstToken = rule.FirstToken
	}
	if rule.Delay > 0 {
		p.delay = rule.Delay
	}
	if rule.Chunks > 0 {
		p.chunks = rule.Chunks
	}
	return p
}

// answer answers a call that has got past the door.
func (s *Simulator) answer(w http.ResponseWriter, c *call, f Fault) {
	switch {
	case f.Name == FaultReset:
		panic(http.ErrAbortHandler)
	case f.Name == FaultSilence:
		c.wait(f.Duration)
		panic(http.ErrAbortHandler)
	case f.isStatus():
		c.fail(w, f)
	case c.api.list != nil:
		writeJSON(w, http.StatusOK, c.api.list(s.opts.Models))
	case c.api.one != nil && slices.Contains(s.opts.Models, c.api.id):
		writeJSON(w, http.StatusOK, c.api.one(c.api.id))
	case c.api.one != nil:
		c.fail(w, Fault{Name: FaultNotFound})
	case c.api.session != nil:
		c.serveSession(w, f)
	case c.stream && c.api.events != nil:
		c.writeStream(w, f)
	default:
		c.writePlain(w, f)
	}
}

// secretOf returns the credential of a request, wherever a family puts it.
func secretOf(r *http.Request) string {
	for _, secret := range []string{
		strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "),
		r.Header.Get("X-Api-Key"), r.Header.Get("Api-Key"), r.Header.Get("X-Goog-Api-Key"),
		r.URL.Query().Get("key"),
	} {
		if secret != "" {
			return secret
		}
	}
	return ""
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
