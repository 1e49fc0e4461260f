// SPDX-License-Identifier: Apache-2.0

package wire

import "net/http"

// llama is the own API of llama.cpp's server, which serves one model. What it
// has of OpenAI's is at /v1. Source: its documentation.
var llama = &Family{
	Name:      "llama",
	recognize: recognizeLlama,
	join:      joinPlain,
	bodyPaths: openai.bodyPaths,
	authorize: authorizeBearer,
	errorBody: openaiError,
}

var llamaCompletion = &Operation{Name: "llama.completion", Dialect: dialectLlama, Repeatable: true, needsBody: true}

// recognizeLlama claims the two paths that generate.
func recognizeLlama(method, path string, _ http.Header) (recognized, bool) {
	return recognized{operation: llamaCompletion, path: address{rest: path}}, method == http.MethodPost && (path == "/completion" || path == "/infill")
}
