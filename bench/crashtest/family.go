// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// family is one API's format, from both ends: how the caller asks and reads,
// how the provider understands and answers. It is the only place that knows
// a format.
type family struct {
	name string
	// path is where a model is asked.
	path func(model string) string
	// header is where the caller's key goes, behind prefix.
	header, prefix string
	// request is what the caller asks; prompt is the user's message.
	request func(model, prompt string) any
	// owns tells the provider that a path belongs to this family.
	owns func(path string) bool
	// asked reads a request on the provider's side.
	asked func(path string, body []byte) (ask, error)

	// eol ends a line of the stream.
	eol string
	// begin are the events before any content.
	begin func(*answer) []event
	// delta is the event that carries a piece of text.
	delta func(a *answer, text string) event
	// finish are the events that say why the answer ends and what it cost.
	finish func(*answer) []event
	// end is what follows the finish, if anything.
	end []event
	// malformed is an event that is cut off in the middle of its JSON.
	malformed event
	// refusals are the bodies of error answers.
	refusals map[refusal]string
	// read takes an event in on the caller's side.
	read func(v *view, e event)
}

// families are the formats that the test is played in.
var families = []*family{chat, responses, messages, gemini}

// ask is what the provider understands of a request.
type ask struct {
	model  string
	stream bool
	// prefill is the assistant's unfinished message with which the request
	// ends. Empty if it ends with the user's.
	prefill string
}

// event is one server-sent event.
type event struct{ name, data string }

// dataEvent makes an unnamed event of a value.
func dataEvent(value any) event { return event{data: encode(value)} }

// namedEvent makes an event of a value, named by its type.
func namedEvent(value object) event {
	return event{name: fmt.Sprint(value["type"]), data: encode(value)}
}

// bytes spells the event for the wire.
func (e event) bytes(eol string) []byte {
	var b strings.Builder
	if e.name != "" {
		b.WriteString("event: " + e.name + eol)
	}
	b.WriteString("data: " + e.data + eol + eol)
	return []byte(b.String())
}

// object is a JSON object in the making.
type object = map[string]any

// encode spells a value as JSON; what the families make always has a spelling.
func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// usage is what an answer cost, in tokens.
type usage struct {
	Input  int `json:"input"`
	Output int `json:"output"`
}

// refusal is a kind of error answer.
type refusal int

// The kinds of error answers.
const (
	rateLimited refusal = iota
	failed
	unavailable
	contextLength
	contentFilter
	noPrefill
)

// status returns the HTTP status that goes with a refusal.
func (r refusal) status() int {
	switch r {
	case rateLimited:
		return http.StatusTooManyRequests
	case failed:
		return http.StatusInternalServerError
	case unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

// The words by which the judge knows a refusal again in what the caller sees.
const (
	contextMark = "crashtest-context"
	filterMark  = "crashtest-filter"
	prefillMark = "crashtest-prefill"
)

// message is the text of a refusal. The marks stand in for request ids, as
// providers put them into their messages.
func (r refusal) message(text string) string {
	mark := map[refusal]string{
		contextLength: contextMark, contentFilter: filterMark, noPrefill: prefillMark,
	}[r]
	if mark == "" {
		return text
	}
	return text + " (request id " + mark + ")"
}

// turn is one message of a conversation, as three of the families spell it.
type turn struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// prefill returns the text of the last turn if it is the assistant's.
func prefill(turns []turn) string {
	if len(turns) == 0 || turns[len(turns)-1].Role != "assistant" {
		return ""
	}
	content := turns[len(turns)-1].Content
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	return joinParts(content)
}

// joinParts puts the texts of a list of parts together.
func joinParts(content json.RawMessage) string {
	var parts []struct {
		Text string `json:"text"`
	}
	var text strings.Builder
	if json.Unmarshal(content, &parts) == nil {
		for _, part := range parts {
			text.WriteString(part.Text)
		}
	}
	return text.String()
}
