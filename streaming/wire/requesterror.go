// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxModel bounds the name of a model, in bytes.
	maxModel = 256
	// maxPlaces bounds how often a request may name it, besides once in each of
	// maxEntries requests within the request: each place is remembered, and
	// written anew in what the provider gets.
	maxPlaces  = 8
	maxEntries = 4096
)

// RequestError is what is wrong with a client's request. It is meant for the
// client: the message tells how to mend it.
type RequestError struct {
	// Status is the HTTP status, from 400 to 499.
	Status int
	// Code is the stable word by which programs tell our errors apart.
	Code string
	// Message is for a human.
	Message string
}

// Error returns the message.
func (e *RequestError) Error() string { return e.Message }

func badRequest(code, message string) *RequestError {
	return &RequestError{Status: http.StatusBadRequest, Code: code, Message: message}
}

// What is wrong with a model's name or a flag. A body can be wrong a million
// times, so these are made but once.
var (
	errNoName     = badRequest("invalid_model", `"model" must be a string that names the model to use`)
	errNoModel    = badRequest("invalid_model", `"model" is empty: set it to the name of the model to use`)
	errLongModel  = badRequest("invalid_model", `"model" is longer than `+strconv.Itoa(maxModel)+" bytes: set it to the name of the model to use")
	errControl    = badRequest("invalid_model", `"model" has control characters in it: set it to the name of the model to use`)
	errManyModels = badRequest("invalid_model", `"model" is set more than `+strconv.Itoa(maxPlaces)+" times, or in more than "+strconv.Itoa(maxEntries)+" requests of a batch: set it once, to the name of the model to use")
	errNoFlag     = badRequest("invalid_stream", `"stream" must be true or false`)
)

// checkModel returns what is wrong with a model's name; nil if nothing is.
func checkModel(name string) *RequestError {
	switch {
	case strings.TrimSpace(name) == "":
		return errNoModel
	case len(name) > maxModel:
		return errLongModel
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errControl
	}

	return nil
}
