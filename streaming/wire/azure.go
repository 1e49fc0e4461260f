// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"net/url"
	"strings"
)

// azure is OpenAI's API as Azure offers it, of which the paths come in three
// styles: a deployment in the path, /openai/v1, and the /models of AI Foundry.
// The version of the API stands in the query. Source: Microsoft's reference.
var azure = &Family{
	Name:       "azure",
	recognize:  recognizeAzure,
	join:       joinAzure,
	placeModel: placeDeployment,
	bodyPaths:  openai.bodyPaths,
	storage:    openai.storage,
	list:       address{head: "/openai", rest: "/models"},
	query:      "api-version=2024-10-21",
	authorize:  authorizeAzure,
	errorBody:  openaiError,

	modelParameters: []string{"model", "deployment"},
}

// recognizeAzure claims /openai, and of /models and /voice-live what AI
// Foundry has there.
func recognizeAzure(method, path string, _ http.Header) (recognized, bool) {
	head, rest := cutSegment(path)
	var found recognized
	passed := rest
	switch {
	case head == "/openai" && rest != "":
		found.path = address{head: head, rest: rest}
		rest, found.model = cutDeployment(rest)
		rest = strings.TrimPrefix(rest, "/v1")
	case path == "/models/chat/completions" || path == "/models/embeddings" || path == "/models/images/embeddings":
		found.path = address{head: head, rest: rest}
	case path == "/voice-live/realtime":
		found.path = address{head: head, rest: rest}
	default:
		return recognized{}, false
	}
	operation, ok := openaiOperation(method, rest)
	if !ok {
		operation = openaiPassed(method, passed)
	}
	found.operation = operation

	return found, true
}

// cutDeployment takes "/deployments/x" off the beginning of a path.
func cutDeployment(path string) (rest, deployment string) {
	segment, after := cutSegment(path)
	if segment != "/deployments" {
		return path, ""
	}
	segment, rest = cutSegment(after)
	if rest == "" {
		return path, ""
	}
	// The path has been checked, so it can be unescaped.
	deployment, _ = url.PathUnescape(segment[1:])

	return rest, deployment
}

// placeDeployment exchanges the deployment that the path names.
func placeDeployment(rest, deployment string) string {
	operation, _ := cutDeployment(rest)

	return "/deployments/" + url.PathEscape(deployment) + operation
}

// joinAzure puts the client's path under the resource. Where the base repeats
// how such paths begin, as addresses that are copied from Azure do, it is said
// once.
func joinAzure(base string, _ bool, path address) string {
	for _, beginning := range []string{"/openai/v1", "/openai", "/models"} {
		if resource, ok := strings.CutSuffix(base, beginning); ok {
			base = resource

			break
		}
	}

	return base + path.String()
}

// authorizeAzure sends Entra's tokens as bearers and keys in their own header.
func authorizeAzure(h http.Header, secret string) {
	if strings.HasPrefix(secret, "eyJ") && strings.Count(secret, ".") == 2 {
		h.Set("Authorization", "Bearer "+secret)
	} else {
		h.Set("Api-Key", secret)
	}
}
