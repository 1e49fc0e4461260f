// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	primary  = "primary"
	fallback = "fallback"
)

// modelName is what a model is called: everything that the provider must know
// of a request that has no place of its own stands in it.
func modelName(scenario int, f *family, role string) string {
	return "s" + pad(scenario) + "-" + f.name + "-" + role
}

// tally is what each model's answer costs, so that it shows whose usage the
// caller was told.
var tally = map[string]int{primary: 11, fallback: 17}

// maxRequest bounds the requests that are read.
const maxRequest = 1 << 20

// provider plays the service behind the gateway.
type provider struct {
	pace   pace
	server *http.Server
	addr   string
	served chan struct{}

	mu      sync.Mutex
	records map[string][]*record
	// begun is when the first request of each scenario and family came.
	begun map[string]time.Time
}

// newProvider starts a provider on an address of the loopback interface.
func newProvider(addr string, p pace) (*provider, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening as the provider: %w", err)
	}
	s := &provider{
		pace: p, addr: listener.Addr().String(), served: make(chan struct{}),
		records: map[string][]*record{}, begun: map[string]time.Time{},
	}
	s.server = &http.Server{Handler: s}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(listener)
	}()
	return s, nil
}

// close ends the provider and all its connections.
func (s *provider) close() {
	_ = s.server.Close()
	<-s.served
}

// ServeHTTP answers what a gateway asks, in the format of the path it asks at.
func (s *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		// Some gateways look for models, or for a sign of life.
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[]}`)
		return
	}
	f := familyOf(r.URL.Path)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if f == nil || err != nil {
		http.Error(w, "not a request that the crash test knows", http.StatusNotFound)
		return
	}
	a, err := f.asked(r.URL.Path, body)
	sc, role := find(a.model)
	switch {
	case err != nil || sc == nil:
		http.Error(w, "not a model of the crash test: "+a.model, http.StatusNotFound)
		return
	case !a.stream:
		http.Error(w, "the crash test only answers in streams", http.StatusBadRequest)
		return
	}

	e := s.open(f, a, role)
	e.w, e.r = w, r
	e.record.Key = credential(r)
	defer s.settle(e)
	play := sc.script(role)
	play(e)
}

// open records a request's arrival.
func (s *provider) open(f *family, a ask, role string) *exchange {
	now := time.Now()
	group := strings.TrimSuffix(a.model, role)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.begun[group]; !ok {
		s.begun[group] = now
	}
	n := len(s.records[a.model]) + 1
	answer := newAnswer(fmt.Sprintf("%s-%d", a.model, n), a, tally[role])
	r := &record{
		At: span(now.Sub(s.begun[group])), Model: a.model, Stream: a.stream, Prefill: a.prefill,
		Answer: "nothing", usage: answer.usage,
	}
	e := &exchange{
		f: f, pace: s.pace, ask: a, n: n, since: time.Duration(r.At),
		// The script writes into a record of its own, which settle publishes.
		record: r, answer: answer,
	}
	published := *r
	s.records[a.model] = append(s.records[a.model], &published)
	return e
}

// settle publishes what has become of a request, also after a cut.
func (s *provider) settle(e *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.record.settled = true
	*s.records[e.ask.model][e.n-1] = *e.record
}

// asked returns the requests to a model so far.
func (s *provider) asked(model string) []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var records []record
	for _, r := range s.records[model] {
		records = append(records, *r)
	}
	return records
}

// rest waits until the requests to the models have been answered or given up,
// up to a bound: what the caller sees may be over before the provider knows.
func (s *provider) rest(bound time.Duration, models ...string) {
	timeout := time.After(bound)
	for s.busy(models) {
		select {
		case <-timeout:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *provider) busy(models []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, model := range models {
		for _, r := range s.records[model] {
			if !r.settled {
				return true
			}
		}
	}
	return false
}

func familyOf(path string) *family {
	for _, f := range families {
		if f.owns(path) {
			return f
		}
	}
	return nil
}

// credential returns a fingerprint of the key that a request carries: enough
// to tell keys apart, and no secret in the report if a real one slips in.
func credential(r *http.Request) string {
	for _, f := range families {
		if key := strings.TrimPrefix(r.Header.Get(f.header), f.prefix); key != "" {
			sum := sha256.Sum256([]byte(key))
			return hex.EncodeToString(sum[:4])
		}
	}
	return ""
}
