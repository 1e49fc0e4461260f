// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"strconv"
)

// BreakOff returns what ends a broken answer so that the client's SDK raises
// an error: the rest of the event at hand, so that it does not mix with what
// follows, and the family's own error event. It returns nil where the format
// has no place for one, or the answer is encoded, and the connection must be
// broken instead. What in it is the provider's passes through hide. Nothing may
// be written to the scanner after that.
func (s *Scanner) BreakOff(family *Family, e Error, hide func(string) string) []byte {
	switch {
	case s.Events():
		var out []byte
		if !s.events.Between() {
			out = append(out, "\n\n"...)
		}
		return append(out, s.facts.dialect.errorEvent(s, family.ErrorBody(e), hide)...)
	case s.framing == array && s.decoder == nil:
		return s.breakArray(family.ErrorBody(e))
	default:
		return nil
	}
}

// errorEvent makes an event of an error body. Without the name, Anthropic's
// SDKs do not read it.
func (d *Dialect) errorEvent(s *Scanner, body []byte, hide func(string) string) []byte {
	var event []byte
	switch d {
	case dialectMessages:
		event = append(event, "event: error\n"...)
	case dialectResponses:
		event = append(event, "event: response.failed\n"...)
		body = s.failedResponse(body, hide)
	}
	event = append(event, "data: "...)
	event = append(event, body...)
	return append(event, "\n\n"...)
}

// failedResponse makes the last event of a Responses stream that failed.
func (s *Scanner) failedResponse(body []byte, hide func(string) string) []byte {
	var ours struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	// Neither what we wrote nor what follows can fail to be JSON.
	_ = json.Unmarshal(body, &ours)
	created, _ := strconv.ParseInt(s.facts.created.String(), 10, 64)
	type object = map[string]any
	event, _ := json.Marshal(object{
		"type":            "response.failed",
		"sequence_number": s.facts.sequence + 1,
		"response": object{
			"id":                 hide(s.facts.answerID.String()),
			"object":             "response",
			"created_at":         created,
			"status":             "failed",
			"error":              object{"code": "server_error", "message": ours.Error.Message},
			"incomplete_details": nil,
			"model":              hide(s.facts.model.String()),
			"output":             []any{},
		},
	})
	return event
}

// breakArray ends a streamed JSON array, if it stands between two elements.
func (s *Scanner) breakArray(body []byte) []byte {
	between, comma := s.json.Elements()
	if !between {
		return nil
	}
	var out []byte
	if comma {
		out = append(out, ',')
	}
	return append(append(out, body...), ']')
}
