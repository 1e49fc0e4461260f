// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"net/url"
	"strings"
)

// vertex is Google's Vertex AI: Gemini's format, and those of the partners
// whose models it serves. Source: Google's API reference.
var vertex = &Family{
	Name:        "vertex",
	recognize:   recognizeVertex,
	join:        joinVertex,
	placeModel:  placeVertexModel,
	bodyPaths:   gemini.bodyPaths,
	storage:     googleStorage,
	modelPrefix: gemini.modelPrefix,
	authorize:   authorizeVertex,
	errorBody:   geminiError,
}

// vertexPartners are the operations behind the colon of a model that is not
// Google's, by its publisher.
var vertexPartners = map[string]*Operation{
	"anthropic": {Name: "vertex.messages", Dialect: dialectMessages, Repeatable: true, needsBody: true, needsModel: true},
	"mistralai": {Name: "vertex.chat", Dialect: dialectChat, Repeatable: true, needsBody: true, needsModel: true},
	"ai21":      {Name: "vertex.chat", Dialect: dialectChat, Repeatable: true, needsBody: true, needsModel: true},
}

// vertexChat is where it speaks OpenAI's format.
var vertexChat = &Operation{Name: "vertex.chat", Dialect: dialectChat, Repeatable: true, needsBody: true, needsModel: true}

// vertexOther is passed through: all that is no model's method. vertexMake is
// what of it makes something.
var (
	vertexOther = &Operation{Name: "vertex.other"}
	vertexMake  = &Operation{Name: "vertex.other", made: dialectNamed}
)

// recognizeVertex claims the versions of Google that go on with a project and
// a location, or with a publisher at once, and its sessions. An address is divided behind the
// location, so that a base may have a project and a location of its own.
func recognizeVertex(method, path string, _ http.Header) (recognized, bool) {
	if strings.HasPrefix(path, "/ws/google.cloud.aiplatform.") && method == http.MethodGet {
		return recognized{operation: geminiLive, path: address{rest: path}}, true
	}
	version, rest := cutSegment(path)
	if version != "/v1" && version != "/v1beta1" {
		return recognized{}, false
	}
	place, resource := cutLocation(rest)
	if place == "" && !strings.HasPrefix(rest, "/publishers/") || resource == "" {
		return recognized{}, false
	}
	found := recognized{operation: vertexOther, path: address{version, place, resource}}
	if method != http.MethodPost {
		return found, true
	}
	if googleStorage.holds(resource) {
		found.operation = vertexMake
	}
	if strings.HasPrefix(resource, "/endpoints/") && strings.HasSuffix(resource, "/chat/completions") {
		found.operation = vertexChat

		return found, true
	}
	publisher, model, verb := splitVertexMethod(resource)
	operation := geminiOperations[verb]
	if verb == "rawPredict" || verb == "streamRawPredict" {
		operation = vertexPartners[publisher]
	}
	if operation != nil && model != "" {
		found.operation, found.model = operation, model
		found.stream = strings.HasPrefix(verb, "stream")
	}

	return found, true
}

// cutLocation takes "/projects/p/locations/l" off the beginning of a path.
func cutLocation(path string) (location, rest string) {
	rest = path
	for _, want := range []string{"/projects", "", "/locations", ""} {
		var segment string
		if segment, rest = cutSegment(rest); segment == "" || want != "" && segment != want {
			return "", path
		}
	}

	return path[:len(path)-len(rest)], rest
}

// splitVertexMethod reads "/publishers/google/models/x:generateContent", and
// "/endpoints/1:generateContent" as a model of no publisher.
func splitVertexMethod(resource string) (publisher, model, verb string) {
	colon, slash := strings.LastIndexByte(resource, ':'), strings.LastIndexByte(resource, '/')
	if colon < slash {
		return "", "", ""
	}
	// The path has been checked, so it can be unescaped.
	model, _ = url.PathUnescape(resource[slash+1 : colon])
	publisher, _ = strings.CutPrefix(resource[:slash], "/publishers/")
	publisher, _, _ = strings.Cut(publisher, "/")

	return publisher, model, resource[colon+1:]
}

// placeVertexModel exchanges the model that the path names.
func placeVertexModel(rest, model string) string {
	colon, slash := strings.LastIndexByte(rest, ':'), strings.LastIndexByte(rest, '/')
	if colon < slash {
		return rest
	}

	return rest[:slash+1] + url.PathEscape(model) + rest[colon:]
}

// joinVertex lets a base decide the version, and the project and location. The
// paths of sessions have none of them.
func joinVertex(base string, _ bool, path address) string {
	if i := strings.Index(base, "/projects/"); i >= 0 {
		path.version = base[i:]
		base = base[:i]
	}
	if last := strings.LastIndexByte(base, '/'); last >= 0 && isVersion(base[last:]) {
		base, path.head = base[:last], base[last:]
	}
	if strings.HasPrefix(path.rest, "/ws/") {
		return base + path.rest
	}

	return base + path.String()
}

// authorizeVertex sends the keys of its express mode in Google's header, and
// all else as a bearer: tokens of OAuth, whatever they look like.
func authorizeVertex(h http.Header, secret string) {
	if strings.HasPrefix(secret, "AIza") || strings.HasPrefix(secret, "AQ.") {
		h.Set("X-Goog-Api-Key", secret)
	} else {
		authorizeBearer(h, secret)
	}
}
