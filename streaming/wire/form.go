// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
)

// readForm reads a multipart form, where files go up. It is divided here
// rather than by mime/multipart because the places of the fields are needed;
// and it is strict, so that a provider cannot read another model in it.
func (b *bodyFacts) readForm(boundary string, body []byte) *RequestError {
	b.form = true
	broken := badRequest("invalid_form", "the body is not a valid multipart form: check its boundary and its parts' headers")
	delimiter := []byte("--" + boundary)
	if boundary == "" || !bytes.HasPrefix(body, delimiter) {
		return broken
	}

	at := len(delimiter)
	for !bytes.HasPrefix(body[at:], []byte("--")) {
		line := bytes.Index(body[at:], crlf)
		if line < 0 || len(bytes.TrimLeft(body[at:at+line], " \t")) > 0 {
			return broken
		}
		at += line
		// A part without headers has its empty line at once.
		head := bytes.Index(body[at:], []byte("\r\n\r\n"))
		if head < 0 {
			return broken
		}
		name, isFile, ok := fieldName(body[at+len(crlf) : min(at+head+2*len(crlf), len(body))])
		at += head + 2*len(crlf)
		end := nextDelimiter(body, at, delimiter)
		// Some readers take a delimiter at the very start of a part for its
		// end, others for its content.
		if end < 0 || !ok || bytes.HasPrefix(body[at:], delimiter) {
			return broken
		}
		if !isFile {
			b.field(name, body, at, end)
		}
		at = end + len(crlf) + len(delimiter)
	}
	// What follows the end is a part to readers that see no end there.
	if len(bytes.TrimSpace(body[at+len("--"):])) > 0 {
		return broken
	}

	return b.err
}

var crlf = []byte("\r\n")

// nextDelimiter returns where the content that begins at from ends: at a line
// that is the delimiter, and not just begins like it. It is -1 if there is none.
func nextDelimiter(body []byte, from int, delimiter []byte) int {
	separator := append(append([]byte{}, crlf...), delimiter...)
	for at := from; ; {
		found := bytes.Index(body[at:], separator)
		if found < 0 {
			return -1
		}
		after := bytes.TrimLeft(body[at+found+len(separator):], " \t")
		if bytes.HasPrefix(after, crlf) || bytes.HasPrefix(after, []byte("--")) {
			return at + found
		}
		at += found + len(separator)
	}
}

// fieldName reads the header of a part, which ends in an empty line.
func fieldName(header []byte) (name string, isFile, ok bool) {
	fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(header))).ReadMIMEHeader()
	if err != nil || len(fields["Content-Disposition"]) != 1 {
		return "", false, false
	}
	_, parameters, err := mime.ParseMediaType(fields.Get("Content-Disposition"))
	_, isFile = parameters["filename"]

	return parameters["name"], isFile, err == nil
}

// field takes a field whose value stands from start to end of the body.
func (b *bodyFacts) field(name string, body []byte, start, end int) {
	value := body[start:end]
	switch {
	case name == "model" && len(value) > maxModel:
		b.fail(errLongModel)
	case name == "model":
		b.name(string(value), int64(start), int64(end))
	case name == "size" && len(value) <= maxOrder:
		b.size = string(value)
	case name == "quality" && len(value) <= maxOrder:
		b.quality = string(value)
	case name == "stream":
		b.stream = string(bytes.ToLower(bytes.TrimSpace(value[:min(len(value), 16)]))) == "true"
	}
}
