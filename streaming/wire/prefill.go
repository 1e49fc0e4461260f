// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// onlyText returns the answer so far, if it is text under the keys that isText
// takes and nothing else. White space at its end is left off, which Anthropic
// refuses, and remembered.
func (c *Continuation) onlyText(isText func(key string) bool) (string, bool) {
	var keys []string
	for key, s := range c.weaver.texts {
		if s.sent.Len() == 0 {
			continue
		}
		if !isText(key) {
			return "", false
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return "", false
	}
	// Keys hold the numbers of blocks: shorter ones come first.
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(c.weaver.texts[key].sent.String())
	}
	kept := strings.TrimRight(text.String(), " \t\r\n")
	c.trimmed = text.String()[len(kept):]
	return kept, kept != ""
}

// appendTo appends a value to a list at the top of a JSON object.
func appendTo(body []byte, list string, value any) ([]byte, bool) {
	var object map[string]json.RawMessage
	var elements []json.RawMessage
	if json.Unmarshal(body, &object) != nil || json.Unmarshal(object[list], &elements) != nil {
		return nil, false
	}
	encode := func(v any) json.RawMessage {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(v) // what was decoded, and texts, always encode
		return bytes.TrimSpace(out.Bytes())
	}
	object[list] = encode(append(elements, encode(value)))
	return encode(object), true
}
