// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	byteorder "encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// recordedService serves recorded answers in pieces. Which one is wanted is
// said by a header.
type recordedService struct {
	*httptest.Server
	mu    sync.Mutex
	takes map[string]*take
}

const takeHeader = "X-Recording"

// take is one playing of a recording.
type take struct {
	recordedCall
	name string
	// begin and end are where the first event that has something generated
	// stands in the body; end is 0 where there is none, or it is not known.
	begin, end int
	// heard is closed when the client has got everything up to there. What
	// comes behind it is not sent before.
	heard chan struct{}
	// paths are those that the service was asked under.
	paths []string
}

// newTake makes a take of a recorded call with a mode of rescue.
func newTake(call recordedCall, rescue string, number int) *take {
	t := &take{recordedCall: call, name: fmt.Sprintf("%s-%d", rescue, number), heard: make(chan struct{})}
	t.findFirstOutput()
	return t
}

func newRecordedService(t *testing.T, takes []*take) *recordedService {
	t.Helper()
	s := &recordedService{takes: map[string]*take{}}
	for _, take := range takes {
		s.takes[take.name] = take
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// hesitation is how long the service waits before the first event that has
// something generated.
const hesitation = 20 * time.Millisecond

func (s *recordedService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	take := s.takes[r.Header.Get(takeHeader)]
	if take == nil {
		http.Error(w, "no such recording", http.StatusTeapot)
		return
	}
	s.mu.Lock()
	take.paths = append(take.paths, r.URL.EscapedPath())
	s.mu.Unlock()
	for name, values := range take.Header {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(take.Want.Status)
	_ = http.NewResponseController(w).Flush() // so that the answer comes chunked

	random := rand.New(rand.NewPCG(1, uint64(len(take.Body))))
	if take.end == 0 {
		sendInPieces(w, take.Body, random)
		return
	}
	sendInPieces(w, take.Body[:take.begin], random)
	time.Sleep(hesitation)
	sendInPieces(w, take.Body[take.begin:take.end], random)
	select {
	case <-take.heard:
		sendInPieces(w, take.Body[take.end:], random)
	case <-r.Context().Done():
	}
}

// sendInPieces cuts a body anywhere: in runes, between CR and LF. A short one
// is sent byte by byte.
func sendInPieces(w http.ResponseWriter, body []byte, random *rand.Rand) {
	most := 1
	if len(body) > 1<<10 {
		most = []int{16, 512, 8 << 10}[random.IntN(3)]
	}
	most = max(most, len(body)/2000)
	for len(body) > 0 {
		n := min(1+random.IntN(most), len(body))
		_, _ = w.Write(body[:n])
		_ = http.NewResponseController(w).Flush()
		body = body[n:]
	}
}

// findFirstOutput finds where the first event with something generated stands.
func (t *take) findFirstOutput() {
	if t.Want.FirstOutputEvent == nil || !t.Want.Stream || t.Header.Get("Content-Encoding") != "" || t.Want.Status != http.StatusOK {
		return
	}
	ends := map[string]func([]byte) []int{
		"sse": eventEnds, "ndjson": lineEnds, "json-array": elementEnds, "aws-eventstream": frameEnds,
	}[t.Want.Format](t.Body)
	first := *t.Want.FirstOutputEvent
	if first >= len(ends) {
		return
	}
	if first > 0 {
		t.begin = ends[first-1]
	}
	t.end = ends[first]
}

// eventEnds returns where each server-sent event ends.
func eventEnds(body []byte) (ends []int) {
	hasData := false
	for at := 0; at < len(body); {
		line, next := body[at:], len(body)
		if i := bytes.IndexAny(line, "\r\n"); i >= 0 {
			line, next = line[:i], at+i+1
			if body[at+i] == '\r' && next < len(body) && body[next] == '\n' {
				next++
			}
		}
		at = next
		hasData = hasData || bytes.HasPrefix(line, []byte("data"))
		if hasData && (len(line) == 0 || at == len(body)) {
			ends, hasData = append(ends, at), false
		}
	}
	return ends
}

func lineEnds(body []byte) (ends []int) {
	at := 0
	for line := range bytes.Lines(body) {
		at += len(line)
		if len(bytes.TrimSpace(line)) > 0 {
			ends = append(ends, at)
		}
	}
	return ends
}

// elementEnds returns where each element of a JSON array ends.
func elementEnds(body []byte) (ends []int) {
	reader := json.NewDecoder(bytes.NewReader(body))
	if _, err := reader.Token(); err != nil {
		return nil
	}
	for reader.More() {
		var element json.RawMessage
		if reader.Decode(&element) != nil {
			return ends
		}
		ends = append(ends, int(reader.InputOffset()))
	}
	return ends
}

// frameEnds returns where each frame of an AWS event stream ends.
func frameEnds(body []byte) (ends []int) {
	for at := 0; at+4 <= len(body); {
		at += int(byteorder.BigEndian.Uint32(body[at:]))
		ends = append(ends, at)
	}
	return ends
}
