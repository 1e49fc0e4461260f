// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"strconv"
	"strings"
)

// weaveGenerate leaves out of a chunk what the client has got.
func weaveGenerate(w *weaver, chunk map[string]any) bool {
	w.keep(chunk, "responseId", "id")
	left := false
	for _, candidate := range objectsOf(chunk["candidates"]) {
		prefix := "candidate " + strconv.FormatInt(intOf(candidate["index"]), 10) + " "
		content := objectOf(candidate["content"])
		if parts, ok := content["parts"].([]any); ok {
			parts = weaveParts(w, prefix, parts)
			content["parts"] = parts
			left = left || len(parts) > 0
		}
		if candidate["finishReason"] != nil {
			w.complete(prefix)
			left = w.once(prefix+"finish") || left
		}
	}
	return left || chunk["promptFeedback"] != nil
}

func weaveParts(w *weaver, prefix string, parts []any) []any {
	left := []any{}
	for _, item := range parts {
		part := objectOf(item)
		if _, isText := part["text"].(string); isText {
			key := prefix + "text"
			if thought, _ := part["thought"].(bool); thought {
				key = prefix + "thought"
			}
			if w.textField(part, "text", key) {
				left = append(left, item)
			}
			continue
		}
		// Calls and media come whole.
		spelled, _ := json.Marshal(part) // it was decoded from JSON
		nth := strconv.Itoa(w.nth(prefix + string(spelled)))
		if w.once(prefix + string(spelled) + nth) {
			left = append(left, item)
		}
	}
	return left
}

// prefillGenerate puts the text so far behind the request's contents, as the
// model's own.
func prefillGenerate(c *Continuation, body []byte) ([]byte, bool) {
	text, ok := c.onlyText(func(key string) bool { return strings.HasPrefix(key, "candidate 0 text") })
	if !ok {
		return nil, false
	}
	return appendTo(body, "contents", map[string]any{"role": "model", "parts": []any{map[string]any{"text": text}}})
}
