// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// readBody reads the request's body whole, up to the limit.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, refuse(http.StatusUnsupportedMediaType, "unsupported_encoding",
			fmt.Sprintf("a request body with Content-Encoding %.20q is not read; send it unencoded", encoding))
	}
	if r.ContentLength > h.MaxRequestBody {
		return nil, h.tooLarge()
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := readSized(http.MaxBytesReader(w, r.Body, h.MaxRequestBody), r.ContentLength)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, h.tooLarge()
		}
		return nil, refuse(http.StatusBadRequest, "incomplete_body", "the request body could not be read to its end")
	}
	return body, nil
}

func (h *Handler) tooLarge() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "request_too_large",
		fmt.Sprintf("the request body is larger than the %d bytes that are allowed here", h.MaxRequestBody))
}

// maxTrustedLength is how much memory a request gets on the word of its
// Content-Length alone, in bytes. A longer one grows as its bytes come.
const maxTrustedLength = 1 << 20

// readSized reads r to its end, into one allocation where the length is known.
func readSized(r io.Reader, length int64) ([]byte, error) {
	if length <= 0 || length > maxTrustedLength {
		return io.ReadAll(r)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return body, nil
}
