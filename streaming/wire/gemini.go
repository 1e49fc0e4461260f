// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// gemini is Google's Gemini API. Source: Google's API reference and SDKs.
var gemini = &Family{
	Name:       "gemini",
	recognize:  recognizeGemini,
	join:       joinVersioned,
	placeModel: placeGeminiModel,
	// Requests within requests name the model again, and Google wants it to
	// be the one of the path.
	bodyPaths: bodyPlaces(paths{
		"":                                atRoot,
		"stream":                          atStream,
		"stream_options":                  atStreamOptions,
		"generationConfig.candidateCount": atSeveral,
		"model":                           atModel,
		"requests.*.model":                atEntryModel,
		"generateContentRequest.model":    atModel,

		"store": atStore, "previous_interaction_id": atObject,
		"cachedContent": atObject, "generateContentRequest.cachedContent": atObject,
		"contents.*.parts.*.fileData.fileUri": atObject, "contents.*.parts.*.file_data.file_uri": atObject,
		"tools.*.fileSearch.fileSearchStoreNames.*": atObject, "tools.*.file_search.file_search_store_names.*": atObject,
		"batch.inputConfig.fileName": atObject, "batch.input_config.file_name": atObject,
	}),
	storage:     googleStorage,
	list:        address{version: "/v1beta", rest: "/models"},
	modelPrefix: "models/",
	authorize:   authorizeGemini,
	errorBody:   geminiError,
	listing:     geminiModels,
	listingAt:   "/models",
}

// googleStorage names objects by their collection; the Interactions API leaves
// it out.
var googleStorage = &storage{
	collections: []string{
		"files", "cachedContents", "batches", "tunedModels", "fileSearchStores", "corpora", "interactions", "operations",
		"batchPredictionJobs", "tuningJobs", "ragCorpora", "reasoningEngines",
	},
	qualified: true,
	bare:      "interactions",
}

// geminiOperations are the methods that stand behind a model's name and a
// colon.
var geminiOperations = map[string]*Operation{
	"generateContent":        {Name: "gemini.generate", Dialect: dialectGenerate, Repeatable: true, needsBody: true, needsModel: true},
	"streamGenerateContent":  {Name: "gemini.stream", Dialect: dialectGenerate, NoComments: true, Repeatable: true, needsBody: true, needsModel: true},
	"countTokens":            {Name: "gemini.count_tokens", Dialect: dialectGenerate, Free: true, Repeatable: true, needsBody: true, needsModel: true},
	"embedContent":           {Name: "gemini.embed", Dialect: dialectEmbed, Repeatable: true, needsBody: true, needsModel: true},
	"batchEmbedContents":     {Name: "gemini.embed", Dialect: dialectEmbed, Repeatable: true, needsBody: true, needsModel: true},
	"predict":                {Name: "gemini.predict", Dialect: dialectEmbed, Repeatable: true, needsBody: true, needsModel: true},
	"predictLongRunning":     {Name: "gemini.start", made: dialectNamed, needsBody: true, needsModel: true},
	"batchGenerateContent":   {Name: "gemini.start", made: dialectNamed, needsBody: true, needsModel: true},
	"asyncBatchEmbedContent": {Name: "gemini.start", made: dialectNamed, needsBody: true, needsModel: true},
}

// geminiLive is a session, of which the client's first message names the
// model.
var geminiLive = &Operation{Name: "gemini.live", Dialect: dialectLive, Session: true}

// geminiInteractions may ask an agent instead of a model. What it makes is
// stored.
var geminiInteractions = &Operation{Name: "gemini.interactions", Dialect: dialectInteractions, keeps: keepsUnlessTold, needsBody: true}

// geminiOther is passed through: models, files, caches. geminiMake is what of
// it makes something.
var (
	geminiOther = &Operation{Name: "gemini.other"}
	geminiMake  = &Operation{Name: "gemini.other", made: dialectNamed}
)

// recognizeGemini claims the versions that only Google has, but for the part
// of them that speaks OpenAI's format. Of /v1 it claims the methods of models
// and what carries Google's credential header.
func recognizeGemini(method, path string, h http.Header) (recognized, bool) {
	if strings.HasPrefix(path, "/ws/google.ai.generativelanguage.") && method == http.MethodGet {
		return recognized{operation: geminiLive, path: address{rest: path}}, true
	}
	head, rest := "", path
	if first, after := cutSegment(rest); first == "/upload" {
		head, rest = first, after
	}
	version, rest := cutSegment(rest)
	if rest == "" || rest == "/openai" || strings.HasPrefix(rest, "/openai/") {
		return recognized{}, false
	}
	found := recognized{operation: geminiOther, path: address{head, version, rest}}
	if method == http.MethodPost && head == "" {
		if rest == "/interactions" {
			found.operation = geminiInteractions
		} else if model, verb := splitGeminiMethod(rest); geminiOperations[verb] != nil {
			found.operation = geminiOperations[verb]
			found.model = model
			found.stream = verb == "streamGenerateContent"
		}
	}
	switch {
	case version == "/v1beta", version == "/v1alpha":
	case version == "/v1" && (found.model != "" || h.Get("X-Goog-Api-Key") != "" && openaiOperations[rest] == nil):
	default:
		return recognized{}, false
	}
	if found.operation == geminiOther && method == http.MethodPost && googleStorage.holds(rest) {
		found.operation = geminiMake
	}

	return found, true
}

// splitGeminiMethod reads "/models/x:generateContent" and
// "/tunedModels/x:generateContent". A tuned model keeps its collection in its
// name.
func splitGeminiMethod(rest string) (model, verb string) {
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return "", ""
	}
	// The path has been checked, so it can be unescaped.
	name, _ := url.PathUnescape(rest[1:colon])
	if !strings.HasPrefix(name, "models/") && !strings.HasPrefix(name, "tunedModels/") {
		return "", ""
	}

	return strings.TrimPrefix(name, "models/"), rest[colon+1:]
}

// placeGeminiModel exchanges the model that the path names.
func placeGeminiModel(rest, model string) string {
	colon := strings.LastIndexByte(rest, ':')
	collection := "/models/"
	if tuned, ok := strings.CutPrefix(model, "tunedModels/"); ok {
		collection, model = "/tunedModels/", tuned
	}

	return collection + url.PathEscape(strings.TrimPrefix(model, "models/")) + rest[colon:]
}

// authorizeGemini sends Google's OAuth tokens as bearers and keys in their own
// header.
func authorizeGemini(h http.Header, secret string) {
	if strings.HasPrefix(secret, "ya29.") {
		h.Set("Authorization", "Bearer "+secret)
	} else {
		h.Set("X-Goog-Api-Key", secret)
	}
}

// geminiError is a google.rpc.Status as Google's APIs put it in JSON. Our code
// is the reason of its ErrorInfo.
func geminiError(e Error) any {
	type object struct {
		Code    int                 `json:"code"`
		Message string              `json:"message"`
		Status  string              `json:"status"`
		Details []map[string]string `json:"details,omitempty"`
	}
	const types = "type.googleapis.com/google.rpc."
	status := object{Code: e.Status, Message: e.Message, Status: geminiStatuses.of(e.Status)}
	if e.Code != "" {
		status.Details = append(status.Details, map[string]string{"@type": types + "ErrorInfo", "reason": e.Code})
	}
	if e.RetryAfter > 0 {
		delay := strconv.FormatInt(e.RetrySeconds(), 10) + "s"
		status.Details = append(status.Details, map[string]string{"@type": types + "RetryInfo", "retryDelay": delay})
	}
	if e.RequestID != "" {
		status.Details = append(status.Details, map[string]string{"@type": types + "RequestInfo", "requestId": e.RequestID})
	}

	return struct {
		Error object `json:"error"`
	}{status}
}

var geminiStatuses = statusWords{
	exact: map[int]string{
		http.StatusUnauthorized:       "UNAUTHENTICATED",
		http.StatusForbidden:          "PERMISSION_DENIED",
		http.StatusNotFound:           "NOT_FOUND",
		http.StatusConflict:           "ABORTED",
		http.StatusTooManyRequests:    "RESOURCE_EXHAUSTED",
		http.StatusNotImplemented:     "UNIMPLEMENTED",
		http.StatusBadGateway:         "UNAVAILABLE",
		http.StatusServiceUnavailable: "UNAVAILABLE",
		http.StatusGatewayTimeout:     "DEADLINE_EXCEEDED",
		529:                           "UNAVAILABLE",
	},
	client: "INVALID_ARGUMENT",
	server: "INTERNAL",
}
