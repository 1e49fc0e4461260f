// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// call is one request and what its answer is made of.
type call struct {
	api     *api
	request *http.Request
	body    map[string]any
	model   string
	stream  bool
	// tool is the tool to be called, arguments with what; empty for text.
	tool      string
	arguments string
	// input is the number of words in the prompt.
	input int
	pace  pace
}

// api is how one endpoint answers.
type api struct {
	family family
	// list answers what lists models.
	list func(models []string) any
	// one answers what asks for the model of that id alone.
	one func(id string) object
	id  string
	// plain makes an answer that comes whole, events one that is streamed.
	plain  func(c *call) any
	events func(c *call) []event
	// session holds a conversation over a WebSocket.
	session func(s *session)
	// streams says that the path alone asks for a stream.
	streams bool
	// binary says that the plain answer is not JSON.
	binary bool
	// status is that of the plain answer; 0 means 200.
	status int
}

// family is what the endpoints of a family have in common.
type family struct {
	errors map[string]simulatedError
	// errorBody makes the body of an error, and puts the wait into it if
	// waitInBody says so; otherwise there is a header for it.
	errorBody  func(e simulatedError, wait time.Duration) any
	waitInBody bool
	// errorEvents makes what reports an error in a stream, of which so many
	// events are sent.
	errorEvents func(c *call, e simulatedError, sent int) []event
	// lineEnd ends the lines of a stream.
	lineEnd string
}

// simulatedError is an error in the words of a provider.
type simulatedError struct {
	status              int
	kind, code, message string
}

// event is one event of a stream.
type event struct {
	// name goes into the event field, if there is one.
	name string
	data string
	kind kind
	// bare says that the data stands in the stream without a field's name.
	bare bool
}

// kind is the part that an event plays in its stream.
type kind uint8

const (
	prelude kind = iota
	content
	closing
	terminator
)

// read finds out what the request asks for.
func (c *call) read() {
	if model, ok := c.body["model"].(string); ok && c.model == "" {
		c.model = model
	}
	if stream, ok := c.body["stream"].(bool); ok {
		c.stream = c.stream || stream
	}
	c.stream = c.stream || c.api.streams
	for _, field := range []string{"messages", "input", "prompt", "system", "contents", "content", "instructions"} {
		c.input += countWords(c.body[field])
	}
	c.input = max(c.input, 1)
	c.readTool()
}

// chunks returns the text of the answer, cut as it is streamed.
func (c *call) chunks() []string {
	chunks := make([]string, c.pace.chunks)
	for i := range chunks {
		word := words[i%len(words)] + " "
		if size := c.pace.size; size > 0 {
			word = strings.Repeat(word, size/len(word)+1)[:size]
		}
		if c.pace.stamps && c.stream {
			word = noStamp + word
		}
		chunks[i] = word
	}
	return chunks
}

// noStamp stands for the time at which a chunk is sent until it is known.
const noStamp = "@0000000000000000000@"

// stamp puts the time into the text of an event.
func stamp(text string, now time.Time) string {
	return strings.Replace(text, noStamp, "@"+strconv.FormatInt(now.UnixNano(), 10)+"@", 1)
}

func (c *call) text() string { return strings.Join(c.chunks(), "") }

// words are what answers are made of, one after the other.
var words = strings.Fields("the quick brown fox jumps over the lazy dog while seven wise owls watch from tall trees")

// countWords counts the words of all strings in v.
func countWords(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		for range strings.FieldsSeq(v) {
			n++
		}
	case []any:
		for _, item := range v {
			n += countWords(item)
		}
	case map[string]any:
		for _, field := range []string{"content", "text", "parts", "output"} {
			n += countWords(v[field])
		}
	}
	return n
}

// wait pauses, for ever if d is 0. It reports false if the client has gone.
func (c *call) wait(d time.Duration) bool {
	var done <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		done = timer.C
	}
	select {
	case <-done:
		return true
	case <-c.request.Context().Done():
		return false
	}
}

// isArray reports whether the stream is one JSON array, as Gemini's are unless
// the client asks for server-sent events.
func (c *call) isArray() bool {
	return c.api.streams && c.request.URL.Query().Get("alt") != "sse"
}

// fail answers with an error.
func (c *call) fail(w http.ResponseWriter, f Fault) {
	family := c.api.family
	e := family.errors[f.Name]
	if f.Duration > 0 && !family.waitInBody {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.Duration+time.Second-1)/time.Second)))
	}
	body := family.errorBody(e, f.Duration)
	if c.isArray() {
		body = []any{body}
	}
	writeJSON(w, e.status, body)
}

// writePlain answers whole. Faults of streams strike it where they make sense.
func (c *call) writePlain(w http.ResponseWriter, f Fault) {
	pause := c.pace.firstToken
	if f.Name == FaultSlow {
		pause = f.Duration
	}
	if pause > 0 && !c.wait(pause) {
		return
	}
	if f.Name == FaultErrorEvent {
		c.fail(w, Fault{Name: FaultOverloaded})
		return
	}
	contentType, body := "audio/mpeg", c.text()
	if !c.api.binary {
		contentType, body = "application/json", encode(c.api.plain(c))
	}
	half := len(body) / 2
	if f.Name == FaultMalformed {
		body = body[:half]
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(cmp.Or(c.api.status, http.StatusOK))
	if f.Name == FaultCut || f.Name == FaultStall {
		_, _ = io.WriteString(w, body[:half])
		_ = http.NewResponseController(w).Flush()
		if f.Name == FaultCut {
			panic(http.ErrAbortHandler)
		}
		if !c.wait(f.Duration) {
			return
		}
		body = body[half:]
	}
	_, _ = io.WriteString(w, body)
}

// unknown answers a path that is not simulated.
func unknown(c *call) any {
	family := c.api.family
	return family.errorBody(simulatedError{
		status:  http.StatusNotFound,
		kind:    family.errors[FaultNotFound].kind,
		message: fmt.Sprintf("Invalid URL (%s %s)", c.request.Method, c.request.URL.Path),
	}, 0)
}
