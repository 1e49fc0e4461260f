// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// maxErrorBody bounds how much of an error body is looked at, in bytes, also
// after it has been uncompressed.
const maxErrorBody = 64 << 10

// maxText bounds how much of an error's messages is judged, in bytes.
const maxText = 8 << 10

// maxWords bounds how many short codes are taken from one error body.
const maxWords = 16

// fault is what an error says, whatever the shape of its body: an error
// object, an error string, a flat object, a detail, an array of any of them,
// an error within an error, plain text, or a page of HTML.
type fault struct {
	// status is the HTTP status. Where that is a success, because the error
	// is an event of a stream, it is the status that the event names, if any.
	status int
	// header is the header of a response that is an error; windows are rate-limit headers that
	// the body repeats from a provider further up.
	header, windows http.Header
	// words are the short codes of the body and of the header, as spelled.
	words []string
	// text is all that the body says to a human, in lower case, a message a
	// line.
	text string
	// retryDelay is the wait that a google.rpc.RetryInfo states.
	retryDelay time.Duration
	// daily says that a google.rpc.QuotaFailure names a quota per day.
	daily bool
	// numbered says that a request id stands beside the error object, not in
	// it.
	numbered bool
}

// readFault reads an error's body, of which at most 64 KiB matter.
func readFault(status int, header http.Header, body []byte) *fault {
	f := &fault{status: status}
	// The header of a success speaks of a call that was let in: Anthropic
	// sends Retry-After there too.
	if status >= 400 {
		f.header = header
	}
	// Bedrock names the error in a header only, followed by a colon and the
	// address of its documentation.
	name, _, _ := strings.Cut(header.Get("X-Amzn-Errortype"), ":")
	f.word(name)

	body = bytes.TrimSpace(uncompressed(header, body))
	var content any
	switch {
	case len(body) == 0:
	case json.NewDecoder(bytes.NewReader(body)).Decode(&content) == nil:
		if object, ok := content.(map[string]any); ok {
			_, f.numbered = object["request_id"]
		}
		f.read(content, 0)
	case body[0] == '{':
		f.readCut(body)
	case body[0] != '<':
		// What a page of HTML says is a proxy's wording and tells no more
		// than its status does.
		f.say(string(body))
	}

	return f
}

// uncompressed returns at most 64 KiB of body, without its encoding.
func uncompressed(header http.Header, body []byte) []byte {
	plain, _, _ := Plain(header, body[:min(len(body), maxErrorBody)], maxErrorBody)

	return plain
}

// cutPaths are where an error's codes and messages stand in JSON that was cut
// off at a bound: a failed response may repeat a long request behind them.
var cutPaths = jsonscan.Compile(map[string]jsonscan.ID{
	"__type": atCode, "code": atCode, "type": atCode, "message": atMessage, "error": atMessage,
	"error.code": atCode, "error.type": atCode, "error.status": atCode, "error.message": atMessage,
	"response.error.code": atCode, "response.error.type": atCode, "response.error.message": atMessage,

	"response.status_details.error.code": atCode, "response.status_details.error.type": atCode, "response.status_details.error.message": atMessage,
})

// What cutPaths find.
const (
	atCode jsonscan.ID = iota + 1
	atMessage
)

// readCut reads an object of which the end is missing, or malformed.
func (f *fault) readCut(body []byte) {
	var scanner jsonscan.Scanner
	scanner.Reset(cutPaths, cutVisitor{f})
	scanner.Write(body)
	if f.text == "" && len(f.words) == 0 {
		f.say(string(body))
	}
}

// cutVisitor visits such an object.
type cutVisitor struct{ f *fault }

func (v cutVisitor) Value(id jsonscan.ID, value jsonscan.Value) {
	if id == atCode {
		v.f.code(value.Text())
	} else {
		v.f.say(value.Text())
	}
}

func (v cutVisitor) Open(jsonscan.ID, jsonscan.Kind) {}
func (v cutVisitor) Close(jsonscan.ID)               {}

// wordKeys are where short codes stand, the most telling first.
var wordKeys = []string{"__type", "code", "error_code", "reason", "type", "error_type", "status", "status_code"}

// textKeys are where messages stand.
var textKeys = []string{"message", "msg", "error", "detail", "error_description"}

// innerKeys are where more of the error stands.
var innerKeys = []string{"error", "detail", "details", "errors", "violations", "innererror"}

// read collects what v says. What an error repeats of the request, such as
// the input that FastAPI echoes, is left aside: it is the client's text.
func (f *fault) read(v any, depth int) {
	if depth > 8 {
		return
	}
	switch v := v.(type) {
	case string:
		f.say(v)
	case []any:
		for _, element := range v[:min(len(v), 16)] {
			f.read(element, depth+1)
		}
	case map[string]any:
		f.readObject(v, depth)
	}
}

func (f *fault) readObject(object map[string]any, depth int) {
	// What stands deeper is more telling than the code around it.
	for _, key := range innerKeys {
		switch inner := object[key].(type) {
		case []any, map[string]any:
			f.read(inner, depth+1)
		}
	}
	// A failed OpenAI response is an event whose error stands in the response;
	// in a session, in the details of its status.
	if response, ok := object["response"].(map[string]any); ok {
		f.read(response["error"], depth+1)
		details, _ := response["status_details"].(map[string]any)
		f.read(details["error"], depth+1)
	}
	for _, key := range wordKeys {
		switch code := object[key].(type) {
		case string:
			// AWS puts a namespace before the name.
			f.code(code[strings.LastIndexByte(code, '#')+1:])
		case float64:
			f.code(strconv.FormatFloat(code, 'f', -1, 64))
		}
	}
	for _, key := range textKeys {
		if text, ok := object[key].(string); ok {
			f.say(text)
		}
	}

	f.readWait(object)
	if metadata, ok := object["metadata"].(map[string]any); ok {
		f.readWindows(metadata["headers"])
	}
}

// delayKeys are where bodies state a wait: Google's RetryInfo, plans of
// ChatGPT, gateways such as this one.
var delayKeys = []string{"retryDelay", "resets_in_seconds", "retry_after", "retry_after_seconds"}

// readWait takes what an object says of waiting: durations, or seconds.
func (f *fault) readWait(object map[string]any) {
	for _, key := range delayKeys {
		switch delay := object[key].(type) {
		case string:
			f.retryDelay = max(f.retryDelay, parseWait(delay, time.Time{}))
		case float64:
			f.retryDelay = max(f.retryDelay, parseWait(strconv.FormatFloat(delay, 'f', -1, 64), time.Time{}))
		}
	}
	for _, key := range []string{"quotaId", "quotaMetric"} {
		if quota, ok := object[key].(string); ok && strings.Contains(strings.ToLower(strings.ReplaceAll(quota, "_", "")), "perday") {
			f.daily = true
		}
	}
}

// readWindows takes the headers that OpenRouter repeats in the body.
func (f *fault) readWindows(headers any) {
	object, ok := headers.(map[string]any)
	if !ok {
		return
	}
	f.windows = make(http.Header, len(object))
	for name, value := range object {
		switch value := value.(type) {
		case string:
			f.windows.Set(name, value)
		case float64:
			f.windows.Set(name, strconv.FormatFloat(value, 'f', -1, 64))
		}
	}
}

// code takes a short code. One that is an HTTP status says what the status
// would have been, had the error come before the stream began.
func (f *fault) code(code string) {
	if status, err := strconv.Atoi(code); err == nil && status >= 400 && status < 600 {
		if f.status < 400 {
			f.status = status
		}

		return
	}
	f.word(code)
}

// word remembers a short code. Sentences, which xAI puts there, and the
// "error" that only says what the object is, are none.
func (f *fault) word(word string) {
	if word == "error" || !isCode(word) || len(f.words) == maxWords || slices.Contains(f.words, word) {
		return
	}
	f.words = append(f.words, word)
}

// say takes a message as a line of text. What matters of it stands at its
// beginning.
func (f *fault) say(message string) {
	message = message[:min(len(message), maxText-min(len(f.text), maxText))]
	message = strings.ReplaceAll(strings.TrimSpace(message), "\n", " ")
	f.text += strings.ToLower(message) + "\n"
}

// isCode tells whether s looks like a code: it is short and has nothing in it
// that a message or a secret of some length would have.
func isCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}

	return true
}
