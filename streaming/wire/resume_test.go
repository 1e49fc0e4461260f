// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/sse"
)

// telling is a stream of one family, made twice: the second time with other
// ids, as a provider that is asked again would send it.
type telling struct {
	op     *Operation
	events func(id string) []string
	// text returns what an event adds to the answer, whatever its kind.
	text func(event map[string]any) string
	// ids are the fields that must be the same in all events that have them.
	ids []string
}

func named(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
func plain(data string) string       { return "data: " + data + "\n\n" }

var tellings = map[string]telling{
	"chat": {
		op:  openaiOperations["/chat/completions"],
		ids: []string{"id", "created"},
		events: func(id string) []string {
			head := `{"id":"` + id + `","created":1,"model":"m","choices":[{"index":0,`
			return []string{
				plain(head + `"delta":{"role":"assistant","content":""},"finish_reason":null}]}`),
				plain(head + `"delta":{"reasoning_content":"hm"},"finish_reason":null}]}`),
				plain(head + `"delta":{"content":"one "},"finish_reason":null}]}`),
				plain(head + `"delta":{"content":"two"},"finish_reason":null}]}`),
				plain(head + `"delta":{"tool_calls":[{"index":0,"id":"call_` + id + `","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}`),
				plain(head + `"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]},"finish_reason":null}]}`),
				plain(head + `"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":null}]}`),
				plain(head + `"delta":{},"finish_reason":"tool_calls"}]}`),
				plain(`{"id":"` + id + `","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`),
				plain("[DONE]"),
			}
		},
		text: func(event map[string]any) string {
			var text string
			for _, choice := range objectsOf(event["choices"]) {
				delta := objectOf(choice["delta"])
				text += stringOf(delta["role"]) + stringOf(delta["reasoning_content"]) + stringOf(delta["content"])
				for _, call := range objectsOf(delta["tool_calls"]) {
					function := objectOf(call["function"])
					text += stringOf(function["name"]) + stringOf(function["arguments"])
				}
				text += stringOf(choice["finish_reason"])
			}
			return text
		},
	},
	"messages": {
		op: anthropicOperations["/messages"],
		events: func(id string) []string {
			return []string{
				named("message_start", `{"type":"message_start","message":{"id":"`+id+`","model":"m","usage":{"input_tokens":3,"output_tokens":1}}}`),
				named("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
				named("ping", `{"type":"ping"}`),
				named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one "}}`),
				named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"two"}}`),
				named("content_block_stop", `{"type":"content_block_stop","index":0}`),
				named("content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"tool_`+id+`","name":"f","input":{}}}`),
				named("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`),
				named("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}`),
				named("content_block_stop", `{"type":"content_block_stop","index":1}`),
				named("message_delta", `{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}`),
				named("message_stop", `{"type":"message_stop"}`),
			}
		},
		text: func(event map[string]any) string {
			delta := objectOf(event["delta"])
			switch kind := stringOf(event["type"]); kind {
			case "ping":
				return ""
			case "content_block_delta":
				return stringOf(delta["text"]) + stringOf(delta["partial_json"])
			default:
				return kind + " "
			}
		},
	},
	"responses": {
		op:  openaiOperations["/responses"],
		ids: []string{"item_id"},
		events: func(id string) []string {
			response := `"response":{"id":"` + id + `","object":"response","created_at":1,"model":"m","status":`
			item := `"output_index":0,"item_id":"msg_` + id + `","content_index":0,`
			return []string{
				named("response.created", `{"type":"response.created","sequence_number":0,`+response+`"in_progress","output":[]}}`),
				named("response.in_progress", `{"type":"response.in_progress","sequence_number":1,`+response+`"in_progress","output":[]}}`),
				named("response.output_item.added", `{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_`+id+`","type":"message","content":[]}}`),
				named("response.content_part.added", `{"type":"response.content_part.added","sequence_number":3,`+item+`"part":{"type":"output_text","text":""}}`),
				named("response.output_text.delta", `{"type":"response.output_text.delta","sequence_number":4,`+item+`"delta":"one "}`),
				named("response.output_text.delta", `{"type":"response.output_text.delta","sequence_number":5,`+item+`"delta":"two"}`),
				named("response.output_text.done", `{"type":"response.output_text.done","sequence_number":6,`+item+`"text":"one two"}`),
				named("response.content_part.done", `{"type":"response.content_part.done","sequence_number":7,`+item+`"part":{"type":"output_text","text":"one two"}}`),
				named("response.output_item.done", `{"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"id":"msg_`+id+`","type":"message","content":[]}}`),
				named("response.completed", `{"type":"response.completed","sequence_number":9,`+response+`"completed","output":[{"id":"msg_`+id+`","type":"message"}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}`),
			}
		},
		text: func(event map[string]any) string {
			if delta, ok := event["delta"]; ok {
				return stringOf(delta)
			}
			return stringOf(event["type"]) + " " + stringOf(objectOf(event["response"])["id"]) + " "
		},
	},
	"gemini": {
		op:  geminiOperations["streamGenerateContent"],
		ids: []string{"responseId"},
		events: func(id string) []string {
			part := func(parts, more string) string {
				return plain(`{"candidates":[{"content":{"parts":[` + parts + `],"role":"model"},"index":0` + more + `}],"responseId":"` + id + `"}`)
			}
			return []string{
				part(`{"text":"hm","thought":true}`, ""), part(`{"text":"one "}`, ""), part(`{"text":"two"}`, ""),
				part(`{"functionCall":{"name":"f","args":{"a":1}}}`, ""), part(`{"functionCall":{"name":"f","args":{"a":1}}}`, ""),
				part(`{"text":""}`, `,"finishReason":"STOP"`),
			}
		},
		text: func(event map[string]any) string {
			var text string
			for _, candidate := range objectsOf(event["candidates"]) {
				for _, p := range objectsOf(objectOf(candidate["content"])["parts"]) {
					text += stringOf(p["text"]) + stringOf(objectOf(p["functionCall"])["name"])
				}
				text += stringOf(candidate["finishReason"])
			}
			return text
		},
	},
}

// collected reads the events of a stream.
type collected struct {
	events []map[string]any
	raw    []string
	data   []byte
}

func (c *collected) Data(p []byte)     { c.data = append(c.data, p...) }
func (c *collected) Field(_, _ []byte) {}
func (c *collected) Comment()          {}
func (c *collected) Event([]byte, int64) {
	var object map[string]any
	if json.Unmarshal(c.data, &object) == nil {
		c.events = append(c.events, object)
	}
	c.raw = append(c.raw, string(c.data))
	c.data = nil
}

func collect(stream string) *collected {
	c := new(collected)
	var scanner sse.Scanner
	scanner.Reset(c)
	scanner.Write([]byte(stream))
	scanner.End()
	return c
}

func (tell telling) textOf(events []map[string]any) string {
	var text strings.Builder
	for _, event := range events {
		text.WriteString(tell.text(event))
	}
	return text.String()
}

// Wherever a stream breaks, a second one that says the same makes it whole:
// nothing is missing, nothing comes twice, and ids stay what they were.
func TestContinuationMakesOneAnswerOfTwoStreams(t *testing.T) {
	for name, tell := range tellings {
		t.Run(name, func(t *testing.T) {
			first, second := tell.events("first"), tell.events("second")
			want := tell.textOf(collect(strings.Join(first, "")).events)
			for cut := 1; cut < len(first); cut++ {
				sent := strings.Join(first[:cut], "")
				c, err := NewContinuation(tell.op, []byte(sent))
				if err != nil {
					t.Fatal(err)
				}
				c.Join(false)
				var out []byte
				for _, piece := range second {
					// In two pieces, as it may come.
					for _, half := range []string{piece[:len(piece)/2], piece[len(piece)/2:]} {
						more, err := c.Write([]byte(half))
						if err != nil {
							t.Fatalf("cut at %d: %v", cut, err)
						}
						out = append(out, more...)
					}
				}
				whole := collect(sent + string(out))
				if got := tell.textOf(whole.events); got != want {
					t.Errorf("cut at %d:\ngot  %s\nwant %s", cut, got, want)
				}
				tell.checkIDs(t, whole.events)
				if last := whole.raw[len(whole.raw)-1]; name == "chat" && last != "[DONE]" {
					t.Errorf("cut at %d: the last event is %s", cut, last)
				}
			}
		})
	}
}

func (tell telling) checkIDs(t *testing.T, events []map[string]any) {
	t.Helper()
	known := map[string]any{}
	sequence := -1.0
	for _, event := range events {
		for _, id := range tell.ids {
			if value, ok := event[id]; ok && known[id] == nil {
				known[id] = value
			} else if ok && known[id] != value {
				t.Errorf("%s changed from %v to %v", id, known[id], value)
			}
		}
		if n, ok := event["sequence_number"].(float64); ok {
			if n != sequence+1 {
				t.Errorf("sequence number %v behind %v", n, sequence)
			}
			sequence = n
		}
	}
}

// A stream that says something else is not mixed with the first.
func TestContinuationNoticesAnotherAnswer(t *testing.T) {
	for name, tell := range tellings {
		first := tell.events("first")
		c, err := NewContinuation(tell.op, []byte(strings.Join(first[:len(first)-2], "")))
		if err != nil {
			t.Fatal(err)
		}
		c.Join(false)
		other := strings.Replace(strings.Join(tell.events("second"), ""), "one ", "uno ", 1)
		if _, err := c.Write([]byte(other)); !errors.Is(err, errDiverged) {
			t.Errorf("%s: got %v", name, err)
		}
		// One that is over before it has said as much is another, too.
		c.Join(false)
		short := strings.Replace(strings.Join(tell.events("second"), ""), "two", "", 1)
		if _, err := c.Write([]byte(short)); !errors.Is(err, errDiverged) {
			t.Errorf("%s, too short: got %v", name, err)
		}
	}
}

// A prefilled stream goes on where the first broke.
func TestPrefillGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		op                 *Operation
		sent               string
		body, wantBody     string
		goesOn, wantEvents string
	}{
		"messages": {
			op:       anthropicOperations["/messages"],
			sent:     strings.Join(tellings["messages"].events("first")[:4], ""),
			body:     `{"model":"m","messages":[{"role":"user","content":"<hi>"}],"max_tokens":9}`,
			wantBody: `{"max_tokens":9,"messages":[{"role":"user","content":"<hi>"},{"content":"one","role":"assistant"}],"model":"m"}`,
			goesOn: tellings["messages"].events("second")[0] + tellings["messages"].events("second")[1] +
				named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" two"}}`),
			wantEvents: named("content_block_delta", `{"delta":{"text":"two","type":"text_delta"},"index":0,"type":"content_block_delta"}`),
		},
		"gemini": {
			op:         geminiOperations["streamGenerateContent"],
			sent:       tellings["gemini"].events("first")[1],
			body:       `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}`,
			wantBody:   `{"contents":[{"role":"user","parts":[{"text":"hi"}]},{"parts":[{"text":"one"}],"role":"model"}]}`,
			goesOn:     tellings["gemini"].events("second")[2],
			wantEvents: plain(`{"candidates":[{"content":{"parts":[{"text":"two"}],"role":"model"},"index":0}],"responseId":"first"}`),
		},
	} {
		t.Run(name, func(t *testing.T) {
			thread, err := NewContinuation(c.op, []byte(c.sent))
			if err != nil {
				t.Fatal(err)
			}
			body, ok := thread.Prefill([]byte(c.body))
			if !ok || string(body) != c.wantBody {
				t.Fatalf("got %s", body)
			}
			thread.Join(true)
			out, err := thread.Write([]byte(c.goesOn))
			if err != nil || string(out) != c.wantEvents {
				t.Errorf("got %v\n%s", err, out)
			}
		})
	}
}

// An answer that has more than text cannot be prefilled.
func TestPrefillOnlyContinuesText(t *testing.T) {
	tell := tellings["messages"]
	c, err := NewContinuation(tell.op, []byte(strings.Join(tell.events("first")[:8], "")))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Prefill([]byte(`{"messages":[]}`)); ok {
		t.Error("a tool call was prefilled")
	}
}
