// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/eventstream"
)

// framing is how an answer is divided into events.
type framing uint8

const (
	// unknown is decided by the first bytes.
	unknown framing = iota
	// opaque is not looked into: media, text, what is compressed.
	opaque
	// eventStream is server-sent events.
	eventStream
	// document is one JSON object.
	document
	// array is a JSON array that is streamed element by element.
	array
	// lines is one JSON object per line, or per message of a WebSocket.
	lines
	// frames is an AWS event stream.
	frames
)

// firstFraming says what can be said before the first byte.
func firstFraming(dialect *Dialect, status int, media string) framing {
	if dialect == nil || status < 200 || status > 299 {
		return opaque
	}
	for _, binary := range []string{"audio/", "image/", "video/", "application/octet-stream"} {
		if strings.HasPrefix(media, binary) {
			return opaque
		}
	}

	return unknown
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// mediaType returns a content type without its parameters, in lower case.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")

	return strings.ToLower(strings.TrimSpace(media))
}

// sniff decides by the first bytes, for some servers mislabel what they send.
// It returns unknown if it needs more of them.
func sniff(head []byte, media string) framing {
	// The length of a frame is below 32 MiB, so it begins with one of these.
	if head[0] <= 1 {
		return sniffFrames(head)
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, byteOrderMark), " \t\r\n")
	if bytes.HasPrefix(byteOrderMark, head) {
		return unknown
	}
	isJSON := strings.HasSuffix(media, "json") || strings.HasSuffix(media, "jsonl")
	switch {
	case head[0] == '{' && (strings.Contains(media, "ndjson") || strings.Contains(media, "jsonl") || media == "application/stream+json"):
		return lines
	case head[0] == '{':
		return document
	case head[0] == '[':
		return array
	case media == "text/event-stream":
		return eventStream
	}
	for _, start := range []string{":", "data:", "event:", "id:", "retry:"} {
		if bytes.HasPrefix(head, []byte(start)) {
			return eventStream
		}
		if strings.HasPrefix(start, string(head)) {
			return unknown
		}
	}
	if isJSON {
		return document
	}

	return opaque
}

// sniffFrames decides whether bytes that begin as the length of a frame does
// are frames.
func sniffFrames(head []byte) framing {
	switch {
	case len(head) < eventstream.PreludeSize:
		return unknown
	case eventstream.IsPrelude(head):
		return frames
	default:
		return opaque
	}
}
