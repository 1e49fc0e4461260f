// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"strconv"
	"strings"
)

// weaveResponses leaves out of an event what the client has got.
func weaveResponses(w *weaver, event map[string]any) bool {
	left := weaveResponseEvent(w, event)
	if _, ok := event["sequence_number"]; !ok || !left {
		return left
	}
	if w.joining {
		w.sequence++
		event["sequence_number"] = w.sequence
	} else {
		w.sequence = intOf(event["sequence_number"])
	}
	return left
}

func weaveResponseEvent(w *weaver, event map[string]any) bool {
	kind := stringOf(event["type"])
	if response := objectOf(event["response"]); response != nil {
		w.keep(response, "id", "id")
		w.keep(response, "created_at", "created")
		for i, item := range objectsOf(response["output"]) {
			keepItem(w, item, itemKey(int64(i)))
		}
	}
	_, placed := event["output_index"]
	if !placed {
		switch kind {
		case "response.created", "response.queued", "response.in_progress":
			return w.once(kind)
		}
		w.complete("")
		return true
	}

	item := itemKey(intOf(event["output_index"]))
	w.keep(event, "item_id", item+"id")
	keepItem(w, objectOf(event["item"]), item)
	part := item + partOf(event)
	switch {
	case strings.HasSuffix(kind, ".delta"):
		_, isText := event["delta"].(string)
		w.opaque = w.opaque || !isText
		return w.textField(event, "delta", part+kind)
	case strings.HasSuffix(kind, ".done"):
		w.complete(part)
		return w.once(part + kind)
	default:
		return w.once(part + kind)
	}
}

func itemKey(index int64) string { return "item " + strconv.FormatInt(index, 10) + " " }

// keepItem gives an item the ids that the client knows it by.
func keepItem(w *weaver, item map[string]any, key string) {
	w.keep(item, "id", key+"id")
	w.keep(item, "call_id", key+"call_id")
	if name := stringOf(item["name"]); name != "" {
		w.agree(key+"name", name)
	}
}

// partOf names the part of an item that an event is about.
func partOf(event map[string]any) string {
	var part strings.Builder
	for _, field := range []string{"content_index", "summary_index", "annotation_index"} {
		if n, ok := event[field].(json.Number); ok {
			part.WriteString(field + " " + n.String() + " ")
		}
	}
	return part.String()
}
