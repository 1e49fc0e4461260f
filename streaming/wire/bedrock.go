// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"net/url"
	"strings"
)

// bedrock is the runtime of Amazon Bedrock. It has an address in each region,
// and none is anybody's default. What it calls mantle is OpenAI's format, at
// which a provider of that family does. Source: the API reference.
var bedrock = &Family{
	Name:       "bedrock",
	recognize:  recognizeBedrock,
	join:       joinPlain,
	placeModel: placeBedrockModel,
	bodyPaths:  bodyPlaces(paths{"": atRoot}),
	authorize:  authorizeBedrock,
	signed:     isAccessKey,
	errorBody:  bedrockError,
}

// bedrockOperations are what can be done with a model.
var bedrockOperations = map[string]*Operation{
	"converse":                    {Name: "bedrock.converse", Dialect: dialectConverse, Repeatable: true, needsBody: true, needsModel: true},
	"converse-stream":             {Name: "bedrock.converse_stream", Dialect: dialectConverse, Repeatable: true, needsBody: true, needsModel: true},
	"invoke":                      {Name: "bedrock.invoke", Dialect: dialectInvoke, Repeatable: true, needsBody: true, needsModel: true},
	"invoke-with-response-stream": {Name: "bedrock.invoke_stream", Dialect: dialectInvoke, Repeatable: true, needsBody: true, needsModel: true},
	"count-tokens":                {Name: "bedrock.count_tokens", Repeatable: true, needsBody: true, needsModel: true},
}

// bedrockOther is passed through: guardrails, asynchronous calls.
var bedrockOther = &Operation{Name: "bedrock.other"}

// recognizeBedrock claims /model/…, where the model's name or address is one
// escaped segment, and the other collections of the runtime.
func recognizeBedrock(method, path string, _ http.Header) (recognized, bool) {
	collection, rest := cutSegment(path)
	model, verb := cutSegment(rest)
	switch collection {
	case "/model":
		operation := bedrockOperations[strings.TrimPrefix(verb, "/")]
		if operation == nil || method != http.MethodPost {
			return recognized{}, false
		}
		// The path has been checked, so it can be unescaped.
		name, _ := url.PathUnescape(model[1:])

		return recognized{
			operation: operation,
			path:      address{rest: path},
			model:     name,
			stream:    strings.HasSuffix(verb, "-stream"),
		}, true
	case "/guardrail", "/async-invoke":
		return recognized{operation: bedrockOther, path: address{rest: path}}, rest != ""
	}

	return recognized{}, false
}

// placeBedrockModel exchanges the model, which is escaped as AWS does it: a
// colon too.
func placeBedrockModel(rest, model string) string {
	escaped := strings.ReplaceAll(url.PathEscape(model), ":", "%3A")

	return "/model/" + escaped + rest[strings.LastIndexByte(rest, '/'):]
}

// authorizeBedrock sends Bedrock's own API keys, which are bearers. A key of
// an AWS account goes into no header: see [Family.NeedsSignature].
func authorizeBedrock(h http.Header, secret string) {
	if !isAccessKey(secret) {
		h.Set("Authorization", "Bearer "+secret)
	}
}

// isAccessKey tells whether a secret is an AWS access key with its secret,
// "AKIA…:…", or one that is lent, "ASIA…:…:…".
func isAccessKey(secret string) bool {
	id, _, ok := strings.Cut(secret, ":")

	return ok && len(id) >= 16 && (strings.HasPrefix(id, "AKIA") || strings.HasPrefix(id, "ASIA"))
}

// bedrockError is an AWS error as it is where no header names it. Our code is
// its reason.
func bedrockError(e Error) any {
	return struct {
		Type      string `json:"__type"`
		Message   string `json:"message"`
		Reason    string `json:"reason,omitempty"`
		RequestID string `json:"requestId,omitempty"`
	}{bedrockTypes.of(e.Status), e.Message, e.Code, e.RequestID}
}

var bedrockTypes = statusWords{
	exact: map[int]string{
		http.StatusUnauthorized:       "UnrecognizedClientException",
		http.StatusForbidden:          "AccessDeniedException",
		http.StatusNotFound:           "ResourceNotFoundException",
		http.StatusRequestTimeout:     "ModelTimeoutException",
		http.StatusTooManyRequests:    "ThrottlingException",
		http.StatusServiceUnavailable: "ServiceUnavailableException",
		http.StatusGatewayTimeout:     "ModelTimeoutException",
	},
	client: "ValidationException",
	server: "InternalServerException",
}
