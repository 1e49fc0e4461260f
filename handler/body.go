// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

// readBody reads the request's body whole, up to the limit, into the call.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, call *streaming.Call) *refusal {
	if encoding := strings.Join(r.Header["Content-Encoding"], ""); encoding != "" && encoding != "identity" {
		return refuse(http.StatusUnsupportedMediaType, "unsupported_encoding",
			fmt.Sprintf("a request body with Content-Encoding %.20q is not read; send it unencoded", encoding))
	}
	if r.ContentLength > h.MaxRequestBody {
		return h.tooLarge()
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	err := readSized(http.MaxBytesReader(w, r.Body, h.MaxRequestBody), r.ContentLength, call)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return h.tooLarge()
		}
		return refuse(http.StatusBadRequest, "incomplete_body", "the request body could not be read to its end")
	}
	return nil
}

func (h *Handler) tooLarge() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "request_too_large",
		fmt.Sprintf("the request body is larger than the %d bytes that are allowed here", h.MaxRequestBody))
}

// maxTrustedLength is how much memory a request gets on the word of its
// Content-Length alone, in bytes. Whoever has sent that much gets four times
// as much, and so on.
const maxTrustedLength = 1 << 20

// readSized reads r to its end, into memory of the right size where the length
// is known.
func readSized(r io.Reader, length int64, call *streaming.Call) (err error) {
	if length <= 0 {
		call.Body, err = io.ReadAll(r)
		return err
	}
	size := min(length, maxTrustedLength)
	if size == length {
		call.Buffer = streaming.NewBuffer(size)
	}
	if call.Buffer != nil {
		call.Body = call.Buffer.Bytes()
	} else {
		call.Body = make([]byte, size)
	}
	for rest := call.Body; ; rest = call.Body[size:] {
		if _, err := io.ReadFull(r, rest); err != nil {
			return err
		}
		size = int64(len(call.Body))
		if size == length {
			return nil
		}
		call.Body = append(make([]byte, 0, min(length, 4*size)), call.Body...)
		call.Body = call.Body[:cap(call.Body)]
	}
}
