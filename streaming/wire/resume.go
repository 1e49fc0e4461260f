// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/seed83435595/caddy-llm-proxy/streaming/sse"
)

var (
	// errDiverged says that a second stream says something else than the
	// first, so that they cannot be made one.
	errDiverged = errors.New("the second answer differs from the first")
	// errOpaque says that an answer has parts that cannot be continued.
	errOpaque = errors.New("the answer has parts that cannot be continued")
)

// Continuation is a stream that broke and is to be taken up by another, so
// that the client gets one whole answer. It is made of what the client got.
type Continuation struct {
	dialect *Dialect
	weaver  *weaver
	events  sse.Scanner

	data []byte
	out  []byte
	err  error
	// trimmed is white space that the client has got but that a prefill must
	// not end with.
	trimmed string
}

// Continues tells whether the operation's streams can be taken up again.
func (o *Operation) Continues() bool { return o.Dialect != nil && o.Dialect.weave != nil }

// NewContinuation reads what the client got of a stream: whole events.
func NewContinuation(op *Operation, sent []byte) (*Continuation, error) {
	c := &Continuation{dialect: op.Dialect, weaver: newWeaver()}
	c.events.Reset(continuedEvents{c})
	if _, err := c.Write(sent); err != nil {
		return nil, err
	}
	c.out = nil
	return c, nil
}

// Prefill returns the request's body with the answer so far as the beginning
// of the model's own turn, if the dialect and the answer allow for that.
func (c *Continuation) Prefill(body []byte) ([]byte, bool) {
	if c.dialect.prefill == nil {
		return nil, false
	}
	return c.dialect.prefill(c, body)
}

// Join begins with another stream. Prefilled says that it goes on where the
// last one broke; otherwise it begins anew, and must say the same again.
func (c *Continuation) Join(prefilled bool) {
	if !prefilled {
		c.trimmed = ""
	}
	c.weaver.join(prefilled, c.trimmed)
	if prefilled && c.dialect.rebase != nil {
		c.dialect.rebase(c.weaver)
	}
	c.events.Reset(continuedEvents{c})
	c.data, c.out = c.data[:0], nil
}

// Write takes a piece of the stream and returns the events that the client has
// yet to get. What is returned is valid until the next call.
func (c *Continuation) Write(p []byte) ([]byte, error) {
	c.out = c.out[:0]
	c.events.Write(p)
	switch {
	case c.weaver.opaque:
		return nil, errOpaque
	case c.weaver.diverged:
		return nil, errDiverged
	}
	return c.out, c.err
}

// continuedEvents visits the events of a stream that is joined.
type continuedEvents struct{ c *Continuation }

func (v continuedEvents) Data(p []byte) {
	v.c.data = append(v.c.data, p...)
	v.c.weaver.opaque = v.c.weaver.opaque || len(v.c.data) > maxWoven
}

func (v continuedEvents) Field(_, _ []byte)       {}
func (v continuedEvents) Comment()                {}
func (v continuedEvents) Event(n []byte, _ int64) { v.c.event(string(n)) }

// event passes on what is new of an event. What is not JSON passes as it is:
// the terminator, or what a provider has garbled.
func (c *Continuation) event(name string) {
	data := c.data
	c.data = c.data[:0]
	if !c.weaver.joining && len(data) == 0 {
		return
	}
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&object) == nil {
		if !c.dialect.weave(c.weaver, object) || !c.weaver.joining {
			return
		}
		var encoded bytes.Buffer
		encoder := json.NewEncoder(&encoded)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(object); err != nil {
			c.err = err
			return
		}
		data = bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))
	}
	if name != "" {
		c.out = append(append(append(c.out, "event: "...), name...), '\n')
	}
	c.out = append(append(append(c.out, "data: "...), data...), "\n\n"...)
}

// Helpers to read decoded JSON.

func objectsOf(v any) []map[string]any {
	list, _ := v.([]any)
	objects := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			objects = append(objects, object)
		}
	}
	return objects
}

func objectOf(v any) map[string]any {
	object, _ := v.(map[string]any)
	return object
}

func stringOf(v any) string {
	s, _ := v.(string)
	return s
}

func intOf(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}
