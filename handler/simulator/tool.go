// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"unicode/utf8"
)

// readTool decides whether the answer is a tool call: the first tool is
// called, unless the conversation already has a tool's result, or the request
// forbids it.
func (c *call) readTool() {
	tools, _ := c.body["tools"].([]any)
	if len(tools) == 0 || c.forbidsTools() || holdsResult(c.body["messages"]) || holdsResult(c.body["input"]) || holdsResult(c.body["contents"]) {
		return
	}
	tool, _ := tools[0].(map[string]any)
	if declarations, ok := tool["functionDeclarations"].([]any); ok && len(declarations) > 0 {
		tool, _ = declarations[0].(map[string]any)
	}
	if function, ok := tool["function"].(map[string]any); ok {
		tool = function
	}
	c.tool, _ = tool["name"].(string)
	for _, field := range []string{"parameters", "input_schema", "parametersJsonSchema"} {
		if schema, ok := tool[field].(map[string]any); ok {
			encoded, _ := json.Marshal(sample(schema))
			c.arguments = string(encoded)
		}
	}
	if c.arguments == "" {
		c.arguments = "{}"
	}
}

// forbidsTools reports whether the request has tools that are not to be called.
func (c *call) forbidsTools() bool {
	choice, _ := c.body["tool_choice"].(map[string]any)
	config, _ := c.body["toolConfig"].(map[string]any)
	calling, _ := config["functionCallingConfig"].(map[string]any)
	return c.body["tool_choice"] == "none" || choice["type"] == "none" || calling["mode"] == "NONE"
}

// holdsResult reports whether a conversation has the result of a tool in it.
func holdsResult(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if holdsResult(item) {
				return true
			}
		}
	case map[string]any:
		if v["role"] == "tool" || v["type"] == "tool_result" || v["type"] == "function_call_output" || v["functionResponse"] != nil {
			return true
		}
		return holdsResult(v["content"]) || holdsResult(v["parts"])
	}
	return false
}

// sample makes a value up that fits a JSON schema.
func sample(schema map[string]any) any {
	if choices, ok := schema["enum"].([]any); ok && len(choices) > 0 {
		return choices[0]
	}
	switch kind, _ := schema["type"].(string); kind {
	case "object", "OBJECT":
		value := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		for name, property := range properties {
			if property, ok := property.(map[string]any); ok {
				value[name] = sample(property)
			}
		}
		return value
	case "array", "ARRAY":
		return []any{}
	case "number", "integer", "NUMBER", "INTEGER":
		return 1
	case "boolean", "BOOLEAN":
		return true
	default:
		return "sample"
	}
}

// argumentPieces cuts the arguments of a tool call as they are streamed, but
// not within a rune: each piece is a JSON string of its own.
func (c *call) argumentPieces() []string {
	half := len(c.arguments) / 2
	for !utf8.RuneStart(c.arguments[half]) {
		half--
	}
	return []string{c.arguments[:half], c.arguments[half:]}
}
