// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
)

// dashscope is Alibaba's own API for its models. What it has of OpenAI's is at
// /compatible-mode/v1, at which a provider of that family does. Source: the
// API reference.
var dashscope = &Family{
	Name:      "dashscope",
	recognize: recognizeDashScope,
	join:      joinDashScope,
	bodyPaths: openai.bodyPaths,
	storage:   &storage{collections: []string{"tasks"}},
	authorize: authorizeBearer,
	errorBody: dashscopeError,
}

// dashscopeRoot is what all its paths begin with.
const dashscopeRoot = "/api/v1"

// dashscopeOperations are below that.
var dashscopeOperations = map[string]*Operation{
	"/services/aigc/text-generation/generation":                      dashscopeGeneration,
	"/services/aigc/multimodal-generation/generation":                dashscopeGeneration,
	"/services/embeddings/text-embedding/text-embedding":             dashscopeEmbedding,
	"/services/embeddings/multimodal-embedding/multimodal-embedding": dashscopeEmbedding,
}

var (
	dashscopeGeneration = &Operation{Name: "dashscope.generation", Dialect: dialectDashScope, Repeatable: true, needsBody: true, needsModel: true}
	dashscopeEmbedding  = &Operation{Name: "dashscope.embedding", Dialect: dialectDashScope, Repeatable: true, needsBody: true, needsModel: true}
	// dashscopeOther is passed through: what is made in the background, and
	// the state of that.
	dashscopeOther = &Operation{Name: "dashscope.other", made: dialectTask}
)

// recognizeDashScope claims the services and tasks. A header asks for a
// stream.
func recognizeDashScope(method, path string, h http.Header) (recognized, bool) {
	rest, ok := strings.CutPrefix(path, dashscopeRoot)
	if !ok || !strings.HasPrefix(rest, "/services/") && !strings.HasPrefix(rest, "/tasks/") {
		return recognized{}, false
	}
	found := recognized{operation: dashscopeOther, path: address{head: dashscopeRoot, rest: rest}}
	if operation := dashscopeOperations[rest]; operation != nil && method == http.MethodPost {
		found.operation = operation
		found.stream = strings.EqualFold(h.Get("X-Dashscope-Sse"), "enable") || strings.Contains(h.Get("Accept"), "text/event-stream")
	}

	return found, true
}

// joinDashScope takes a base with or without what all paths begin with.
func joinDashScope(base string, _ bool, path address) string {
	return strings.TrimSuffix(base, path.head) + path.String()
}

// dashscopeError is flat.
func dashscopeError(e Error) any {
	return struct {
		Code       string `json:"code"`
		Message    string `json:"message"`
		RetryAfter int64  `json:"retry_after,omitempty"`
		RequestID  string `json:"request_id,omitempty"`
	}{e.Code, e.Message, e.RetrySeconds(), e.RequestID}
}
