// SPDX-License-Identifier: Apache-2.0

package wire

import "net/http"

// tgi is the own API of Hugging Face's text generation server, which serves
// one model. What it has of OpenAI's is at /v1. Source: its API reference.
var tgi = &Family{
	Name:      "tgi",
	recognize: recognizeTGI,
	join:      joinPlain,
	bodyPaths: openai.bodyPaths,
	authorize: authorizeBearer,
	errorBody: tgiError,
}

var tgiGenerate = &Operation{Name: "tgi.generate", Dialect: dialectTGI, Repeatable: true, needsBody: true}

// recognizeTGI claims the paths that generate. The root streams if the body says
// so.
func recognizeTGI(method, path string, _ http.Header) (recognized, bool) {
	found := recognized{operation: tgiGenerate, path: address{rest: path}, stream: path == "/generate_stream"}

	return found, method == http.MethodPost && (path == "/" || path == "/generate" || found.stream)
}

// tgiError is a text and its kind, which is our code.
func tgiError(e Error) any {
	return struct {
		Error string `json:"error"`
		Type  string `json:"error_type"`
	}{e.Message, e.Code}
}
