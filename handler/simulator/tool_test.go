// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/handler/simulator"
)

const (
	schema = `{"type":"object","properties":{"city":{"type":"string","enum":["Genève","Köln"]},"days":{"type":"integer"}}}`
	// arguments are what the simulator makes of it.
	arguments = `{"city":"Genève","days":1}`
)

// tools are the first tools of each API.
var tools = []struct {
	endpoint
	tools, none, result string
}{
	{streamed[0], `"tools":[{"type":"function","function":{"name":"weather","parameters":` + schema + `}}]`, `"tool_choice":"none"`, `{"role":"tool","tool_call_id":"call_sim","content":"rain"}`},
	{streamed[4], `"tools":[{"type":"function","name":"weather","parameters":` + schema + `}]`, `"tool_choice":"none"`, `{"type":"function_call_output","call_id":"call_sim","output":"rain"}`},
	{streamed[5], `"tools":[{"name":"weather","input_schema":` + schema + `}]`, `"tool_choice":{"type":"none"}`, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_sim","content":"rain"}]}`},
	{streamed[6], `"tools":[{"functionDeclarations":[{"name":"weather","parameters":` + schema + `}]}]`, `"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}`, `{"role":"user","parts":[{"functionResponse":{"name":"weather","response":{}}}]}`},
}

// callOf returns the name and the arguments of the tool that is called.
func callOf(t *testing.T, events []string) (name, arguments string) {
	t.Helper()
	for _, data := range events {
		var event struct {
			Type  string
			Delta json.RawMessage
			Item  struct{ Name string }
			Block struct{ Name string } `json:"content_block"`

			Choices []struct {
				Delta struct {
					Calls []struct {
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
			}
			Candidates []struct {
				Content struct {
					Parts []struct {
						Call struct {
							Name string
							Args json.RawMessage
						} `json:"functionCall"`
					}
				}
			}
		}
		if json.Unmarshal([]byte(data), &event) != nil {
			continue
		}
		for _, choice := range event.Choices {
			for _, call := range choice.Delta.Calls {
				name, arguments = name+call.Function.Name, arguments+call.Function.Arguments
			}
		}
		for _, candidate := range event.Candidates {
			for _, part := range candidate.Content.Parts {
				name, arguments = name+part.Call.Name, arguments+string(part.Call.Args)
			}
		}
		switch event.Type {
		case "response.output_item.added":
			name = event.Item.Name
		case "response.function_call_arguments.delta":
			var piece string
			_ = json.Unmarshal(event.Delta, &piece)
			arguments += piece
		case "content_block_start":
			name = event.Block.Name
		case "content_block_delta":
			var delta struct {
				Piece string `json:"partial_json"`
			}
			_ = json.Unmarshal(event.Delta, &delta)
			arguments += delta.Piece
		}
	}
	return name, arguments
}

func TestTheFirstToolIsCalled(t *testing.T) {
	base := serve(t, simulator.Options{})
	for _, test := range tools {
		e := test.endpoint
		e.body = strings.TrimSuffix(e.body, "}") + "," + test.tools + "}"
		r := ask(t, base, e)
		if name, given := callOf(t, r.events(t, e)); name != "weather" || given != arguments {
			t.Errorf("%s: called %s(%s)", e.name, name, given)
		}
		if got := r.scan(t, e); !got.ended || got.failure != "" {
			t.Errorf("%s: ended %v, failure %q", e.name, got.ended, got.failure)
		}
		plain := e
		plain.body = strings.Replace(e.body, `"stream":true,`, "", 1)
		plain.path = strings.Replace(e.path, ":streamGenerateContent?alt=sse", ":generateContent", 1)
		if r := ask(t, base, plain); !strings.Contains(r.body, `"weather"`) || !strings.Contains(r.body, "Genève") {
			t.Errorf("%s: no call in %s", e.name, r.body)
		}
	}
}

func TestNoToolIsCalledWhenForbiddenOrAnswered(t *testing.T) {
	base := serve(t, simulator.Options{Chunks: 2})
	for _, test := range tools {
		forbidden := test.endpoint
		forbidden.body = strings.TrimSuffix(forbidden.body, "}") + "," + test.tools + "," + test.none + "}"
		answered := test.endpoint
		answered.body = strings.TrimSuffix(answered.body, "}") + "," + test.tools + "}"
		if strings.Contains(answered.body, `"input":"`) {
			answered.body = strings.Replace(answered.body, `"say it once again"`, "["+test.result+"]", 1)
		} else {
			answered.body = strings.Replace(answered.body, `}]`, `},`+test.result+`]`, 1)
		}
		if test.name == "gemini events" {
			answered.body = `{"contents":[` + test.result + `],` + test.tools + `}`
		}
		for _, e := range []endpoint{forbidden, answered} {
			if texts := ask(t, base, e).texts(t, e); len(texts) != 2 {
				t.Errorf("%s: texts %q for %s", e.name, texts, e.body)
			}
		}
	}
}
