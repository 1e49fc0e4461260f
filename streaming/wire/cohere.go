// SPDX-License-Identifier: Apache-2.0

package wire

import "net/http"

// cohere is Cohere's API in its second version, and what of its first is its
// own. Source: Cohere's API reference.
var cohere = &Family{
	Name:      "cohere",
	recognize: recognizeCohere,
	join:      joinVersioned,
	bodyPaths: openai.bodyPaths,
	list:      address{version: "/v1", rest: "/models"},
	authorize: authorizeBearer,
	errorBody: cohereError,
}

// cohereOperations are by the version and the rest of the path. The first
// version has default models.
var cohereOperations = map[string]*Operation{
	"/v2/chat":     {Name: "cohere.chat", Dialect: dialectCohere, Repeatable: true, needsBody: true, needsModel: true},
	"/v2/embed":    {Name: "cohere.embed", Dialect: dialectCohere, Repeatable: true, needsBody: true, needsModel: true},
	"/v2/rerank":   {Name: "cohere.rerank", Dialect: dialectCohere, Repeatable: true, needsBody: true, needsModel: true},
	"/v1/chat":     {Name: "cohere.chat", Dialect: dialectCohere, Repeatable: true, needsBody: true},
	"/v1/generate": {Name: "cohere.generate", Dialect: dialectCohere, Repeatable: true, needsBody: true},
	"/v1/embed":    {Name: "cohere.embed", Dialect: dialectCohere, Repeatable: true, needsBody: true},
	"/v1/classify": {Name: "cohere.classify", Dialect: dialectCohere, Repeatable: true, needsBody: true},
}

// recognizeCohere claims those alone: other providers have a second version of
// other things.
func recognizeCohere(method, path string, _ http.Header) (recognized, bool) {
	version, rest := cutSegment(path)
	operation, ok := cohereOperations[path]

	return recognized{operation: operation, path: address{version: version, rest: rest}}, ok && method == http.MethodPost
}

// cohereError is flat.
func cohereError(e Error) any {
	return struct {
		ID         string `json:"id,omitempty"`
		Message    string `json:"message"`
		Code       string `json:"code,omitempty"`
		RetryAfter int64  `json:"retry_after,omitempty"`
	}{e.RequestID, e.Message, e.Code, e.RetrySeconds()}
}
