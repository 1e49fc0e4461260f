// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
)

// ollama is Ollama's own API. What it has of OpenAI's is at /v1, at which a
// provider of that family does. Source: Ollama's API reference.
var ollama = &Family{
	Name:      "ollama",
	recognize: recognizeOllama,
	join:      joinPlain,
	bodyPaths: openai.bodyPaths,
	authorize: authorizeBearer,
	errorBody: ollamaError,
	listing:   ollamaModels,
	listingAt: "/api/tags",
}

// ollamaOperations are below /api. Chats and texts are streamed unless the
// request says otherwise.
var ollamaOperations = map[string]*Operation{
	"/chat":       {Name: "ollama.chat", Dialect: dialectOllama, Repeatable: true, needsBody: true, needsModel: true, streams: true},
	"/generate":   {Name: "ollama.generate", Dialect: dialectOllama, Repeatable: true, needsBody: true, needsModel: true, streams: true},
	"/embed":      {Name: "ollama.embed", Dialect: dialectOllamaEmbed, Repeatable: true, needsBody: true, needsModel: true},
	"/embeddings": {Name: "ollama.embed", Dialect: dialectOllamaEmbed, Repeatable: true, needsBody: true, needsModel: true},
	"/show":       {Name: "ollama.show", Repeatable: true, needsBody: true, needsModel: true},
	"/tags":       ollamaOther,
	"/ps":         ollamaOther,
	"/version":    ollamaOther,
}

// ollamaOther tells of the server. What changes it, such as the loading of
// models, is not passed on to any client.
var ollamaOther = &Operation{Name: "ollama.other", Repeatable: true}

// recognizeOllama claims what it knows of /api.
func recognizeOllama(method, path string, _ http.Header) (recognized, bool) {
	rest, ok := strings.CutPrefix(path, "/api")
	operation := ollamaOperations[rest]
	if !ok || operation == nil || (operation == ollamaOther) != (method == http.MethodGet) {
		return recognized{}, false
	}

	return recognized{operation: operation, path: address{rest: path}, stream: operation.streams}, true
}

// ollamaError is a text, with our code beside it.
func ollamaError(e Error) any {
	return struct {
		Error      string `json:"error"`
		Code       string `json:"code,omitempty"`
		RetryAfter int64  `json:"retry_after,omitempty"`
		RequestID  string `json:"request_id,omitempty"`
	}{e.Message, e.Code, e.RetrySeconds(), e.RequestID}
}
