// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// refusal is a call that is turned down before it reaches the transport. It
// is written in the API family's own shape, so that the client's SDK raises
// the exception that its user expects.
type refusal struct {
	wire.Error
	// wantsKey says that the message is to go on with where the client's key
	// belongs, which differs by family.
	wantsKey bool
	// reason is why a key or token is refused, in a word that only the log
	// shows.
	reason string
}

func refuse(status int, code, message string) *refusal {
	return &refusal{Error: wire.Error{Status: status, Code: code, Message: message}}
}

func refuseRequest(err error) *refusal {
	var bad *wire.RequestError
	if errors.As(err, &bad) {
		return refuse(bad.Status, bad.Code, bad.Message)
	}
	return refuse(http.StatusBadRequest, "bad_request", "the request cannot be understood")
}

// unauthorized does not say whether a key was missing or wrong, or whose it
// might be.
func unauthorized() *refusal {
	f := refuse(http.StatusUnauthorized, "invalid_api_key", "a valid API key for this gateway is needed")
	f.wantsKey = true
	return f
}

// unavailable says that a token or a key cannot be judged for now, which is not
// its fault.
func unavailable() *refusal {
	f := refuse(http.StatusServiceUnavailable, "auth_unavailable", "this API key cannot be verified at the moment")
	f.RetryAfter = 5 * time.Second
	return f
}

// limitsUnavailable says that nobody can tell for now whether there is room
// for a call, where a call is to be refused for that.
func limitsUnavailable() *refusal {
	f := refuse(http.StatusServiceUnavailable, "limits_unavailable", "the limits of this API key cannot be counted at the moment")
	f.RetryAfter = time.Second
	return f
}

// write answers the request in the shape of a family. id names the call in
// our logs.
func (f *refusal) write(w http.ResponseWriter, family *wire.Family, id string) error {
	f.RequestID = id
	if f.wantsKey {
		f.Message += ", as in '" + family.KeyHeader("<key>") + "'"
	}
	body := family.ErrorBody(f.Error)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Request-Id", id)
	f.setHeader(header)
	w.WriteHeader(f.Status)
	_, err := w.Write(body)
	return err
}

// setHeader says in an answer's head what the refusal means to its client.
func (f *refusal) setHeader(header http.Header) {
	wire.StateWait(header, f.RetryAfter)
	if f.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", "Bearer")
	}
	if f.Status == http.StatusUpgradeRequired {
		header.Set("Upgrade", "websocket")
		header.Set(websocket.HeaderVersion, "13")
	}
}

// smallBody is up to which size the server may wait for a body that nobody
// will read, in bytes. It comes in one go with the head.
const smallBody = 16 << 10

// skipBody lets the answer go before a body has come that nobody will read;
// the connection ends with it. The server would otherwise wait for a good part
// of the body first, to use the connection again.
func skipBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && (r.ContentLength < 0 || r.ContentLength > smallBody) {
		w.Header().Set("Connection", "close")
	}
}
