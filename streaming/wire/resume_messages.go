// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"strconv"
	"strings"
)

// messageTexts are the fields of a delta that hold pieces of text.
var messageTexts = map[string]string{"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}

// weaveMessages leaves out of an event what the client has got.
func weaveMessages(w *weaver, event map[string]any) bool {
	kind := stringOf(event["type"])
	var prefix string
	if _, ok := event["index"]; ok {
		index := intOf(event["index"]) + w.offset
		event["index"] = index
		prefix = "block " + strconv.FormatInt(index, 10) + " "
	}
	switch kind {
	case "message_start":
		return w.once("start")
	case "content_block_start":
		block := objectOf(event["content_block"])
		w.agree(prefix+"type", stringOf(block["type"]))
		w.agree(prefix+"name", stringOf(block["name"]))
		index, ok := event["index"].(int64)
		if last, known := w.values["last"].(int64); ok && (!known || last < index) {
			w.values["last"] = index
		}
		return w.once(prefix + kind)
	case "content_block_delta":
		delta := objectOf(event["delta"])
		if field, ok := messageTexts[stringOf(delta["type"])]; ok {
			return w.textField(delta, field, prefix+field)
		}
		if kind := stringOf(delta["type"]); kind == "signature_delta" {
			return w.once(prefix + kind)
		}
		spelled, _ := json.Marshal(delta) // it was decoded from JSON
		return w.once(prefix + string(spelled))
	case "content_block_stop":
		w.complete(prefix)
		return w.once(prefix + kind)
	case "message_delta":
		w.complete("")
		return w.once(kind)
	}
	return true
}

// rebaseMessages makes the first block of a prefilled answer the one that
// broke, or the one behind it.
func rebaseMessages(w *weaver) {
	last, ok := w.values["last"].(int64)
	if !ok {
		return
	}
	prefix := "block " + strconv.FormatInt(last, 10) + " "
	w.offset = last
	if w.marks[prefix+"content_block_stop"] {
		w.offset = last + 1
	}
}

// prefillMessages puts the text so far behind the request's messages. Only an
// answer of nothing but text can be continued like that.
func prefillMessages(c *Continuation, body []byte) ([]byte, bool) {
	text, ok := c.onlyText(func(key string) bool { return strings.HasSuffix(key, " text") })
	if !ok {
		return nil, false
	}
	return appendTo(body, "messages", map[string]any{"role": "assistant", "content": text})
}
