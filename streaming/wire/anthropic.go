// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
)

// anthropic is Anthropic's Messages API. Source: Anthropic's API reference
// and SDKs.
var anthropic = &Family{
	Name:      "anthropic",
	recognize: recognizeAnthropic,
	join:      joinVersioned,
	bodyPaths: bodyPlaces(paths{
		"": atRoot, "model": atModel, "stream": atStream,
		"container": atObject, "container.id": atObject,
		"messages.*.content.*.file_id":                  atObject,
		"messages.*.content.*.source.file_id":           atObject,
		"messages.*.content.*.content.*.source.file_id": atObject,
	}),
	storage:   anthropicStorage,
	list:      address{version: "/v1", rest: "/models"},
	authorize: authorizeAnthropic,
	errorBody: anthropicError,
}

var anthropicOperations = map[string]*Operation{
	"/messages":              {Name: "anthropic.messages", Dialect: dialectMessages, Repeatable: true, needsBody: true, needsModel: true},
	"/messages/count_tokens": {Name: "anthropic.count_tokens", Dialect: dialectCountTokens, Free: true, Repeatable: true, needsBody: true, needsModel: true},
	"/complete":              {Name: "anthropic.complete", Dialect: dialectComplete, Repeatable: true, needsBody: true, needsModel: true},
}

var anthropicStorage = &storage{collections: []string{"files", "batches", "skills"}}

// anthropicOther is passed through: batches, models, files. anthropicMake is
// what of it makes something.
var (
	anthropicOther = &Operation{Name: "anthropic.other"}
	anthropicMake  = &Operation{Name: "anthropic.other", made: dialectStored}
)

// recognizeAnthropic claims the paths that only Anthropic has and, of those
// that OpenAI has or may have too, what carries Anthropic's version header,
// which its SDKs always send.
func recognizeAnthropic(method, path string, h http.Header) (recognized, bool) {
	version, rest := cutSegment(path)
	if version != "/v1" || rest == "" {
		return recognized{}, false
	}
	own := rest == "/complete" || rest == "/messages" || strings.HasPrefix(rest, "/messages/")
	if !own && (h.Get("Anthropic-Version") == "" || openaiOperations[rest] != nil) {
		return recognized{}, false
	}
	found := recognized{operation: anthropicOther, path: address{version: version, rest: rest}}
	if method == http.MethodPost {
		if operation, ok := anthropicOperations[rest]; ok {
			found.operation = operation
		} else if anthropicStorage.holds(rest) {
			found.operation = anthropicMake
		}
	}

	return found, true
}

// authorizeAnthropic sends tokens of OAuth as bearers and keys in their own
// header.
func authorizeAnthropic(h http.Header, secret string) {
	if strings.HasPrefix(secret, "sk-ant-oat") {
		h.Set("Authorization", "Bearer "+secret)
	} else {
		h.Set("X-Api-Key", secret)
	}
	if h.Get("Anthropic-Version") == "" {
		h.Set("Anthropic-Version", "2023-06-01")
	}
}

// anthropicError is the error object of Anthropic's SDKs, with our code beside
// its type.
func anthropicError(e Error) any {
	type object struct {
		Type       string `json:"type"`
		Message    string `json:"message"`
		Code       string `json:"code,omitempty"`
		RetryAfter int64  `json:"retry_after,omitempty"`
	}

	return struct {
		Type      string `json:"type"`
		Error     object `json:"error"`
		RequestID string `json:"request_id,omitempty"`
	}{"error", object{anthropicTypes.of(e.Status), e.Message, e.Code, e.RetrySeconds()}, e.RequestID}
}

var anthropicTypes = statusWords{
	exact: map[int]string{
		http.StatusUnauthorized:          "authentication_error",
		http.StatusPaymentRequired:       "billing_error",
		http.StatusForbidden:             "permission_error",
		http.StatusNotFound:              "not_found_error",
		http.StatusConflict:              "conflict_error",
		http.StatusRequestEntityTooLarge: "request_too_large",
		http.StatusTooManyRequests:       "rate_limit_error",
		http.StatusServiceUnavailable:    "overloaded_error",
		http.StatusGatewayTimeout:        "timeout_error",
		529:                              "overloaded_error",
	},
	client: "invalid_request_error",
	server: "api_error",
}
