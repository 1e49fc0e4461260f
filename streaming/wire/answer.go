// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// Error is what the gateway itself has to say to a client.
type Error struct {
	// Status is the HTTP status, from 400 on.
	Status int
	// Code is the stable word by which programs tell our errors apart.
	Code string
	// Message is for a human. It names nothing of our internals.
	Message string
	// RetryAfter is when to come again; 0 where that is unknown.
	RetryAfter time.Duration
	// RequestID names the call in our logs. Optional.
	RequestID string
}

// RetrySeconds returns RetryAfter in whole seconds, rounded up.
func (e Error) RetrySeconds() int64 {
	return int64((e.RetryAfter + time.Second - 1) / time.Second)
}

// ErrorBody returns e as JSON in the family's own shape, so that its SDKs
// raise the exception that fits.
func (f *Family) ErrorBody(e Error) []byte {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(f.errorBody(e)); err != nil {
		// Strings and numbers always encode.
		panic("wire: encoding an error: " + err.Error())
	}

	return bytes.TrimSuffix(body.Bytes(), []byte("\n"))
}

// statusWords is how a family names the kinds of errors.
type statusWords struct {
	exact map[int]string
	// client and server are for the other statuses below 500 and from 500 on.
	client, server string
}

func (w statusWords) of(status int) string {
	if word, ok := w.exact[status]; ok {
		return word
	}
	if status >= http.StatusInternalServerError {
		return w.server
	}

	return w.client
}
