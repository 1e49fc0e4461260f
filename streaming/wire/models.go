// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// AsksForModels tells whether a request asks for a list of models that can be
// made of their names; see [Request.ModelList]. Some families' lists tell more.
func (r *Request) AsksForModels(method string) bool {
	return method == http.MethodGet && r.Family.listing != nil && r.path.head == "" && r.path.rest == r.Family.listingAt
}

// AsksForModel tells whether a request asks for what such a list says of one
// model, which is its Model then.
func (r *Request) AsksForModel() bool { return r.listed }

// listedModel returns the model whose entry of the list of models is asked for;
// nothing if none is.
func (f *Family) listedModel(method string, path address) string {
	escaped, below := strings.CutPrefix(path.rest, f.listingAt+"/")
	if !below || method != http.MethodGet || f.listing == nil || path.head != "" {
		return ""
	}
	// What is behind a further slash belongs to the model, but for the names of
	// models of others: "author/model".
	if strings.Count(escaped, "/") > f.slashes {
		return ""
	}
	name, _ := url.PathUnescape(escaped) // it has been checked

	return name
}

// placeInPath returns the path's rest with another model in it.
func (r *Request) placeInPath(model string) string {
	if r.listed {
		return r.Family.listingAt + "/" + url.PathEscape(model)
	}

	return r.Family.placeModel(r.path.rest, model)
}

// UnknownModel is the error that says that there is no such model, or none for
// the client.
func UnknownModel(model string) Error {
	return Error{
		Status: http.StatusNotFound, Code: "model_not_found",
		Message: fmt.Sprintf("the model %q does not exist or is not available to you", model),
	}
}

// ModelList returns the list that such a request asks for.
func (r *Request) ModelList(names []string) []byte {
	// Strings always encode.
	list, _ := json.Marshal(r.Family.listing(names))

	return list
}

// unknownDate stands where a list wants to know when a model was made: it may
// be the epoch, says Anthropic's reference.
const unknownDate = "1970-01-01T00:00:00Z"

// each makes the entries of a list.
func each[T any](names []string, entry func(name string) T) []T {
	entries := make([]T, len(names))
	for i, name := range names {
		entries[i] = entry(name)
	}

	return entries
}

// openaiModels is OpenAI's list. Who owns a model behind us is nobody's
// business.
func openaiModels(names []string) any {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}

	return struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", each(names, func(name string) model { return model{ID: name, Object: "model", OwnedBy: "gateway"} })}
}

// anthropicModels is Anthropic's list, all on one page.
func anthropicModels(names []string) any {
	type model struct {
		Type        string `json:"type"`
		ID          string `json:"id"`
		DisplayName string `json:"display_name"`
		CreatedAt   string `json:"created_at"`
	}
	list := struct {
		Data    []model `json:"data"`
		HasMore bool    `json:"has_more"`
		FirstID *string `json:"first_id"`
		LastID  *string `json:"last_id"`
	}{Data: each(names, func(name string) model { return model{"model", name, name, unknownDate} })}
	if len(names) > 0 {
		list.FirstID, list.LastID = &names[0], &names[len(names)-1]
	}

	return list
}

// geminiModels is Google's list.
func geminiModels(names []string) any {
	type model struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	}

	return struct {
		Models []model `json:"models"`
	}{each(names, func(name string) model { return model{"models/" + name, name} })}
}

// ollamaModels is the list of an Ollama's models.
func ollamaModels(names []string) any {
	type model struct {
		Name       string   `json:"name"`
		Model      string   `json:"model"`
		ModifiedAt string   `json:"modified_at"`
		Details    struct{} `json:"details"`
	}

	return struct {
		Models []model `json:"models"`
	}{each(names, func(name string) model { return model{Name: name, Model: name, ModifiedAt: unknownDate} })}
}
