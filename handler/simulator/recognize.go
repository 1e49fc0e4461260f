// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"net/http"
	"strings"
)

// recognize finds the endpoint of a request, and the model if the path names
// one.
func recognize(r *http.Request) (*api, string) {
	path := r.URL.Path
	anthropicClient := r.Header.Get("Anthropic-Version") != ""
	switch {
	case path == "/v1/realtime" && r.Method == http.MethodGet:
		return &api{family: realtime, session: converse}, r.URL.Query().Get("model")
	case strings.HasPrefix(path, "/ws/google.ai.generativelanguage.") && strings.HasSuffix(path, ".BidiGenerateContent"):
		return &api{family: live, session: converseLive}, ""
	case strings.HasPrefix(path, "/v1beta/openai/"):
		path = "/v1/" + strings.TrimPrefix(path, "/v1beta/openai/")
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/v1/models/"): // whose ids may have colons
	case strings.HasPrefix(path, "/v1beta/") || strings.Contains(path, ":"):
		return recognizeGemini(r.Method, path)
	}
	switch {
	case path == "/v1/models" && anthropicClient:
		return &api{family: anthropic, list: listAnthropic}, ""
	case path == "/v1/models":
		return &api{family: openai, list: listOpenAI}, ""
	}
	if id, ok := strings.CutPrefix(path, "/v1/models/"); ok && r.Method == http.MethodGet {
		if anthropicClient {
			return &api{family: anthropic, one: modelAnthropic, id: id}, ""
		}
		return &api{family: openai, one: modelOpenAI, id: id}, ""
	}
	if found, ok := endpoints[path]; ok && r.Method == http.MethodPost {
		return found, ""
	}
	if anthropicClient {
		return notFound(anthropic), ""
	}
	return notFound(openai), ""
}

// notFound is the endpoint that is not there.
func notFound(f family) *api { return &api{family: f, status: http.StatusNotFound, plain: unknown} }

var endpoints = map[string]*api{
	"/v1/chat/completions":      {family: openai, plain: chatPlain, events: chatEvents},
	"/v1/completions":           {family: openai, plain: completionPlain, events: completionEvents},
	"/v1/responses":             {family: responses, plain: responsePlain, events: responseEvents},
	"/v1/embeddings":            {family: openai, plain: embeddings},
	"/v1/moderations":           {family: openai, plain: moderation},
	"/v1/images/generations":    {family: openai, plain: image},
	"/v1/audio/transcriptions":  {family: openai, plain: transcription},
	"/v1/audio/speech":          {family: openai, binary: true},
	"/v1/messages":              {family: anthropic, plain: messagePlain, events: messageEvents},
	"/v1/messages/count_tokens": {family: anthropic, plain: countTokens},
}

func recognizeGemini(method, path string) (*api, string) {
	if path == "/v1beta/models" && method == http.MethodGet {
		return &api{family: gemini, list: listGemini}, ""
	}
	if id, ok := strings.CutPrefix(path, "/v1beta/models/"); ok && method == http.MethodGet {
		return &api{family: gemini, one: modelGemini, id: id}, ""
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	model, action, _ := strings.Cut(name, ":")
	switch action {
	case "generateContent":
		return &api{family: gemini, plain: generatePlain}, model
	case "streamGenerateContent":
		return &api{family: gemini, events: generateEvents, streams: true}, model
	case "countTokens":
		return &api{family: gemini, plain: func(c *call) any { return map[string]any{"totalTokens": c.input} }}, model
	case "embedContent":
		return &api{family: gemini, plain: embedContent}, model
	case "batchEmbedContents":
		return &api{family: gemini, plain: batchEmbedContents}, model
	default:
		return notFound(gemini), model
	}
}
