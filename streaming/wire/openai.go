// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
)

// openai is the API of OpenAI, and of the many that are compatible with it.
// Source: OpenAI's OpenAPI document.
var openai = &Family{
	Name:      "openai",
	recognize: recognizeOpenAI,
	join:      joinOpenAI,
	bodyPaths: bodyPlaces(
		paths{
			"": atRoot, "model": atModel, "stream": atStream, "n": atSeveral, "store": atStore, "stream_options": atStreamOptions,
			"prompt.id": atPrompt, "input": atInput, "size": atSize, "quality": atQuality,
		}, openaiObjects,
	),
	storage:   openaiStorage,
	list:      address{version: "/v1", rest: "/models"},
	authorize: authorizeBearer,
	errorBody: openaiError,
	listing:   openaiModels,
	listingAt: "/models",
	slashes:   1,

	modelParameters: []string{"model"},
}

// openaiOperations are the endpoints that are POSTed to and answer with what
// a model made. Images, moderations and speech have a default model.
var openaiOperations = map[string]*Operation{
	"/chat/completions":       {Name: "openai.chat", Dialect: dialectChat, keeps: keepsIfTold, Repeatable: true, needsBody: true, needsModel: true},
	"/completions":            {Name: "openai.completions", Dialect: dialectChat, Repeatable: true, needsBody: true, needsModel: true},
	"/responses":              {Name: "openai.responses", Dialect: dialectResponses, keeps: keepsUnlessTold, Repeatable: true, needsBody: true, needsModel: true},
	"/responses/compact":      {Name: "openai.compact", Dialect: dialectResponses, Repeatable: true, needsBody: true, needsModel: true},
	"/responses/input_tokens": {Name: "openai.input_tokens", Repeatable: true, needsBody: true},
	"/embeddings":             {Name: "openai.embeddings", Dialect: dialectEmbeddings, Repeatable: true, needsBody: true, needsModel: true},
	"/moderations":            {Name: "openai.moderations", Dialect: dialectEmbeddings, Repeatable: true, needsBody: true},
	"/images/generations":     {Name: "openai.images", Dialect: dialectImages, draws: true, Repeatable: true, needsBody: true},
	"/images/edits":           {Name: "openai.images", Dialect: dialectImages, draws: true, Repeatable: true, needsBody: true},
	"/images/variations":      {Name: "openai.images", Dialect: dialectImages, draws: true, Repeatable: true, needsBody: true},
	"/audio/transcriptions":   {Name: "openai.transcriptions", Dialect: dialectAudio, Repeatable: true, needsBody: true, needsModel: true},
	"/audio/translations":     {Name: "openai.translations", Dialect: dialectAudio, Repeatable: true, needsBody: true, needsModel: true},
	"/rerank":                 {Name: "openai.rerank", Dialect: dialectEmbeddings, Repeatable: true, needsBody: true},                  // Jina, Voyage, vLLM
	"/ocr":                    {Name: "openai.ocr", Dialect: dialectEmbeddings, Repeatable: true, needsBody: true, needsModel: true},   // Mistral
	"/fim/completions":        {Name: "openai.completions", Dialect: dialectChat, Repeatable: true, needsBody: true, needsModel: true}, // Mistral
	"/agents/completions":     {Name: "openai.chat", Dialect: dialectChat, Repeatable: true, needsBody: true},                          // Mistral
	"/audio/speech":           {Name: "openai.speech", Dialect: dialectAudio, speaks: true, Repeatable: true, needsBody: true, needsModel: true},
}

var (
	// openaiBatch is a batch as it stands, and openaiResponse a response that
	// was stored, which states the usage of the call that made it.
	openaiBatch    = &Operation{Name: "openai.batch", Dialect: dialectBatch, Standing: true}
	openaiResponse = &Operation{Name: "openai.response", Dialect: dialectResponses, Standing: true, streamsByQuery: true}
	// openaiPrompt is a stored prompt, which has a model of its own, at Portkey.
	openaiPrompt = &Operation{Name: "openai.prompt", Dialect: dialectChat, Repeatable: true, needsBody: true}
	// openaiRealtime and openaiResponsesSession are sessions over a WebSocket.
	openaiRealtime         = &Operation{Name: "openai.realtime", Dialect: dialectRealtime, Session: true}
	openaiResponsesSession = &Operation{Name: "openai.responses_session", Dialect: dialectResponsesSession, Session: true}
)

// openaiOperation returns the operation of a path below the version.
func openaiOperation(method, rest string) (operation *Operation, ok bool) {
	collection, id := cutSegment(rest)
	_, below := cutSegment(id)
	switch {
	case method == http.MethodPost:
		operation = openaiOperations[rest]
		if collection == "/prompts" && below == "/completions" {
			operation = openaiPrompt
		}
	case method == http.MethodGet && (rest == "/realtime" || rest == "/realtime/translations"):
		operation = openaiRealtime
	case method == http.MethodGet && rest == "/responses":
		operation = openaiResponsesSession
	case method == http.MethodGet && id != "" && below == "" && collection == "/batches":
		operation = openaiBatch
	case method == http.MethodGet && id != "" && below == "" && collection == "/responses":
		operation = openaiResponse
	}

	return operation, operation != nil
}

// openaiOther is everything else under /v1: models, files, batches and what
// else a compatible provider offers. It is passed through. openaiMake is what
// of it makes something.
var (
	openaiOther = &Operation{Name: "openai.other"}
	openaiMake  = &Operation{Name: "openai.other", made: dialectStored}
)

// openaiPassed returns which of them a path below the version is.
func openaiPassed(method, rest string) *Operation {
	if method == http.MethodPost && openaiStorage.holds(rest) {
		return openaiMake
	}

	return openaiOther
}

var openaiStorage = &storage{
	collections: []string{
		"responses", "conversations", "files", "uploads", "batches", "vector_stores", "containers",
		"assistants", "threads", "completions", "jobs", "evals", "videos", "skills",
	},
	notIDs: []string{"compact", "input_tokens", "runs"},
}

// openaiObjects are where requests name what is stored.
var openaiObjects = paths{
	"previous_response_id": atObject, "conversation": atObject, "conversation.id": atObject,
	"thread_id": atObject, "assistant_id": atObject,
	"file_id": atObject, "file_ids.*": atObject, "input_file_id": atObject,
	"training_file": atObject, "validation_file": atObject,
	"input.*.content.*.file_id":         atObject,
	"messages.*.content.*.file.file_id": atObject,
	"messages.*.attachments.*.file_id":  atObject, "attachments.*.file_id": atObject,
	"tools.*.container": atObject, "tools.*.container.file_ids.*": atObject,
	"tools.*.vector_store_ids.*":                    atObject,
	"tool_resources.code_interpreter.file_ids.*":    atObject,
	"tool_resources.file_search.vector_store_ids.*": atObject,
}

// recognizeOpenAI claims /v1, and the place where Gemini's API speaks
// OpenAI's format.
func recognizeOpenAI(method, path string, _ http.Header) (recognized, bool) {
	version, rest := cutSegment(path)
	if compatible, ok := strings.CutPrefix(rest, "/openai/"); ok && (version == "/v1beta" || version == "/v1alpha") {
		version, rest = version+"/openai", "/"+compatible
	} else if version != "/v1" {
		return recognized{}, false
	}
	if rest == "" {
		return recognized{}, false
	}
	operation, ok := openaiOperation(method, rest)
	if !ok {
		if _, ok := openaiOperation(method, plainSpelling(rest)); ok {
			// A provider may take it for the operation that it is not spelled as,
			// and then nobody would have read it.
			return recognized{}, false
		}
		operation = openaiPassed(method, rest)
	}

	return recognized{operation: operation, path: address{version: version, rest: rest}}, true
}

// joinOpenAI takes a base path as written, in the place of the client's /v1:
// compatible providers have paths such as /api/paas/v4. Without any path the
// version is the client's.
func joinOpenAI(base string, hasPath bool, path address) string {
	if !hasPath {
		return "/v1" + path.rest
	}

	return base + path.rest
}

// openaiError is the error object of OpenAI's SDKs, which choose an exception
// by the status.
func openaiError(e Error) any {
	type object struct {
		Message    string  `json:"message"`
		Type       string  `json:"type"`
		Param      *string `json:"param"`
		Code       string  `json:"code"`
		RetryAfter int64   `json:"retry_after,omitempty"`
	}

	return struct {
		Error     object `json:"error"`
		RequestID string `json:"request_id,omitempty"`
	}{object{Message: e.Message, Type: openaiTypes.of(e.Status), Code: e.Code, RetryAfter: e.RetrySeconds()}, e.RequestID}
}

var openaiTypes = statusWords{
	exact: map[int]string{
		http.StatusUnauthorized:    "authentication_error",
		http.StatusForbidden:       "permission_error",
		http.StatusNotFound:        "not_found_error",
		http.StatusTooManyRequests: "rate_limit_error",
	},
	client: "invalid_request_error",
	server: "server_error",
}
