// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"net/http"
	"net/url"
)

// Request is what a client's request asks for. It is made by [Recognize] and
// completed by [Request.ReadBody]; after that it is only read, so attempts may
// share it. The handshake of a session over a WebSocket is a GET, however the
// client has spelled it.
type Request struct {
	// Family is the format in which the client speaks and expects the answer.
	Family *Family
	// Operation is the endpoint.
	Operation *Operation
	// Model is the model that the client names, without a prefix such as
	// "models/". Empty where none is named.
	Model string
	// Stream says that the client asks for the answer event by event.
	Stream bool
	// Several says that the client asks for more than one answer at once, of
	// which one may be over before another begins.
	Several bool
	// Objects are the stored objects that the client refers to, such as an
	// earlier response, a file or a batch: at most 8, that of the path first.
	// Only the key that made them can find them.
	Objects []string
	// Order is what the client asks for that may be paid by the piece.
	Order Order

	path address
	// once says that the client has given the request a name under which it is
	// to be served once: another of that name that is in the way is its own.
	once bool
	// modelInPath says that Model stands in the path and not only in the body,
	// modelInQuery that it stands in the query.
	modelInPath, modelInQuery bool
	// listed says that it is asked for what a list of models says of Model.
	listed bool
	// doubt is what is wrong with the query of a handshake.
	doubt *RequestError
	// named are the places in the body that name the model.
	named []place
	// mixed says that not all of them name Model.
	mixed bool
	// kept says that the answer can be asked for again by its id.
	kept bool
	// form says that the body is a multipart form, not JSON.
	form bool
	// options says that the body has options for streams.
	options bool
	// demand is what the body says of what the call may take.
	demand demandVisitor
}

// Recognize tells from a request's path, and where families share a path from
// its header, what it asks for. The body is not needed yet. It fails with
// [ErrUnknownPath] only.
func Recognize(method string, u *url.URL, h http.Header) (*Request, error) {
	path, err := checkedPath(u)
	if err != nil {
		return nil, err
	}
	for _, family := range families {
		if found, ok := family.recognize(method, path, h); ok {
			listed := family.listedModel(method, found.path)
			r := &Request{
				Family:    family,
				Operation: found.operation,
				Model:     cmp.Or(found.model, listed),
				Stream:    found.stream || found.operation.streamsByQuery && u.Query().Get("stream") == "true",
				path:      found.path,

				once:        h.Get("Idempotency-Key") != "" || h.Get("X-Idempotency-Key") != "",
				modelInPath: found.model != "" || listed != "",
				listed:      listed != "",
			}
			if r.Operation.Session {
				r.Stream = true
				r.readQuery(u.RawQuery)
			}
			r.refer(family.storage.in(found.path.rest))

			return r, nil
		}
	}

	return nil, ErrUnknownPath
}
