// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"slices"
	"strconv"
	"strings"
)

// chatTexts are the fields of a delta that hold pieces of text.
var chatTexts = []string{"content", "reasoning_content", "reasoning", "refusal"}

// chatIgnored are fields that are no part of what was generated.
var chatIgnored = map[string]bool{"role": true, "tool_calls": true, "annotations": true}

// weaveChat leaves out of a chunk what the client has got. It reports whether
// anything is left.
func weaveChat(w *weaver, chunk map[string]any) bool {
	w.keep(chunk, "id", "id")
	w.keep(chunk, "created", "created")
	left := chunk["usage"] != nil
	for _, choice := range objectsOf(chunk["choices"]) {
		left = weaveChoice(w, choice) || left
	}
	return left
}

func weaveChoice(w *weaver, choice map[string]any) bool {
	prefix := "choice " + strconv.FormatInt(intOf(choice["index"]), 10) + " "
	left := w.textField(choice, "text", prefix+"text")
	delta := objectOf(choice["delta"])
	if role := delta["role"]; role != nil && !w.once(prefix+"role") {
		delete(delta, "role")
	}
	for _, field := range chatTexts {
		left = w.textField(delta, field, prefix+field) || left
	}
	for field, value := range delta {
		w.opaque = w.opaque || value != nil && !chatIgnored[field] && !slices.Contains(chatTexts, field)
	}
	if calls, ok := delta["tool_calls"].([]any); ok {
		if calls = weaveToolCalls(w, prefix, calls); len(calls) > 0 {
			delta["tool_calls"] = calls
			left = true
		} else {
			delete(delta, "tool_calls")
		}
	}
	if choice["finish_reason"] != nil {
		w.complete(prefix)
		left = w.once(prefix+"finish") || left
	}
	return left || delta["role"] != nil
}

// weaveToolCalls leaves out the calls that the client has got, and of one that
// it has begun to get the head.
func weaveToolCalls(w *weaver, prefix string, calls []any) []any {
	var left []any
	for _, item := range calls {
		call := objectOf(item)
		key := prefix + "tool " + strconv.FormatInt(intOf(call["index"]), 10) + " "
		function := objectOf(call["function"])
		keep := false
		if name := stringOf(function["name"]); name != "" {
			w.agree(key+"name", name)
			if keep = w.once(key + "head"); !keep {
				delete(call, "id")
				delete(call, "type")
				delete(function, "name")
			}
		}
		if w.textField(function, "arguments", key+"arguments") || keep {
			left = append(left, item)
		}
	}
	return left
}

// prefillChat puts the text so far behind the request's messages.
func prefillChat(c *Continuation, body []byte) ([]byte, bool) {
	text, ok := c.onlyText(func(key string) bool { return strings.HasPrefix(key, "choice 0 content") })
	if !ok {
		return nil, false
	}
	return appendTo(body, "messages", map[string]any{"role": "assistant", "content": text})
}
