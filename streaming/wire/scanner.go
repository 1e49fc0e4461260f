// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"sync"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
	"github.com/seed83435595/caddy-llm-proxy/streaming/sse"
)

// Scanner reads along one answer. It is not safe for concurrent use. Writing
// to it never fails and keeps no part of what is written, except that of the
// event at hand up to 32 KiB are copied, in case it is an error.
type Scanner struct {
	facts   facts
	framing framing
	media   string
	// head is the beginning of an answer whose framing is not yet known.
	head     [16]byte
	headSize int

	// decoder undoes the answer's encoding; nil if it has none.
	decoder *decoder

	events sse.Scanner
	json   jsonscan.Scanner
	// frame is what reads frames; nil where there are none.
	frame *frameReader
	// inEvent says that the data of an event has begun.
	inEvent bool
	// piece is what is being written, and done how much of it belongs to
	// events that have ended.
	piece []byte
	done  int
	base  int64

	// text is that of the current event, stray what stood between events, if
	// anything, and strayFails that this is called an error.
	text, stray []byte
	strayFails  bool
	// failure is the text of the first error, mishap that of the last one in
	// a session since a turn of it went well.
	failure, mishap []byte

	// faults is how many events were errors.
	faults int

	// broke says that an error came before the answer's end, and no usage since.
	broke bool

	// lead is how much of the answer came before its framing begins, and
	// whole how much of it is whole events that are no error.
	lead, whole int64

	// half says that the last event stops in the middle of what it says, torn
	// that the stream does.
	half, torn bool

	started, ended bool
	// closed says that all that was begun had ended with the last event.
	closed             bool
	guessed            bool
	count, firstOutput int
	bytes              int64
}

var scanners = sync.Pool{New: func() any { return new(Scanner) }}

// maxEvent bounds how much of an event is kept, in bytes, in case it is an
// error.
const maxEvent = 32 << 10

// maxKept bounds the buffers that a scanner takes back to the pool.
const maxKept = 16 << 10

// NewScanner returns a scanner for an answer to the operation op, given the
// answer's status and its headers Content-Type and Content-Encoding. A copy of
// what is gzip or Brotli is decoded as it comes. Answers in another encoding,
// those that are not successful, and those to an operation without a dialect
// that stores nothing, are only counted.
func NewScanner(op *Operation, status int, contentType, contentEncoding string) *Scanner {
	s := scanners.Get().(*Scanner)
	if s.facts.dialect = op.Dialect; op.Dialect == nil {
		s.facts.dialect = op.made
	}
	s.media = mediaType(contentType)
	s.framing = firstFraming(s.facts.dialect, status, s.media)
	s.firstOutput = -1
	if open, encoded := decoding(contentEncoding); encoded && s.framing != opaque {
		if open != nil {
			s.decoder = newDecoder(open, s.take)
		} else {
			s.framing = opaque
		}
	}

	return s
}

// Release gives the scanner back. Neither it nor what Failure returned may be
// used after that.
func (s *Scanner) Release() {
	if s.decoder != nil {
		s.decoder.close()
	}
	text, stray := s.text, s.stray
	*s = Scanner{}
	if cap(text) <= maxKept {
		s.text = text[:0]
	}
	if cap(stray) <= maxKept {
		s.stray = stray[:0]
	}
	scanners.Put(s)
}

// Write takes the next piece of the answer.
func (s *Scanner) Write(p []byte) {
	s.bytes += int64(len(p))
	if s.decoder == nil {
		s.take(p)

		return
	}
	s.decoder.write(p)
	if s.decoder.broken {
		s.framing = opaque
		s.write(p)
	}
}

// take takes the next piece of the answer as it is without its encoding.
func (s *Scanner) take(p []byte) {
	if s.framing == unknown {
		p = s.begin(p)
	}
	s.write(p)
}

// begin looks at the first bytes until they tell the framing, and returns
// those that are yet to be written.
func (s *Scanner) begin(p []byte) []byte {
	for i, c := range p {
		// An answer may be preceded by any amount of blank lines.
		if s.headSize == 0 && (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
			s.lead++
			continue
		}
		if s.headSize == len(s.head) {
			s.framing = opaque

			return p[i:]
		}
		s.head[s.headSize] = c
		s.headSize++
		if s.framing = sniff(s.head[:s.headSize], s.media); s.framing != unknown {
			if s.framing == document && s.facts.dialect.lines {
				s.framing = lines
			}
			s.decide()

			return s.afterBegin(p, i+1)
		}
	}

	return nil
}

// decide begins to read in the framing that was found.
func (s *Scanner) decide() {
	switch s.framing {
	case eventStream:
		s.events.Reset(eventVisitor{s})
	case frames:
		s.frame = new(frameReader)
		s.frame.frames.Reset(frameVisitor{s})
	case document, lines:
		s.json.Reset(s.facts.dialect.values, factVisitor{s})
	case array:
		s.json.Reset(s.facts.dialect.elements, factVisitor{s})
	}
}

// afterBegin returns what is yet to be written of a piece of which the first n
// bytes have told the framing, with the head where that is all in it: a text
// that comes whole is read faster than one in pieces.
func (s *Scanner) afterBegin(p []byte, n int) []byte {
	head := bytes.TrimPrefix(s.head[:s.headSize], byteOrderMark)
	s.lead += int64(s.headSize - len(head))
	if len(head) <= n {
		return p[n-len(head):]
	}
	s.write(head)

	return p[n:]
}

func (s *Scanner) write(p []byte) {
	switch s.framing {
	case opaque:
		s.started = s.started || len(p) > 0
	case eventStream:
		s.events.Write(p)
	case frames:
		s.frame.frames.Write(p)
	case document, array:
		s.read(p)
	case lines:
		s.readLines(p)
	}
}

// read takes a piece of JSON.
func (s *Scanner) read(p []byte) {
	s.piece, s.done, s.base = p, 0, s.json.Offset()
	s.json.Write(p)
	s.text = keep(s.text, s.piece[s.done:])
	s.piece = nil
}

// Close says that the answer came to its end: what is pending counts.
func (s *Scanner) Close() {
	if s.decoder != nil {
		s.decoder.end()
	}
	switch s.framing {
	case unknown, opaque:
		s.ended = s.framing == opaque || s.headSize > 0
	case frames:
	case eventStream:
		whole, between := s.whole, s.events.Between()
		s.events.End()
		if s.torn = s.half && !between; s.torn {
			s.whole = whole
		}
		s.endStray()
	case document, array, lines:
		s.json.End()
		// A document may be a bare word, or an error that was cut off.
		if s.framing == document && s.json.Complete() && s.count == 0 || s.facts.failed {
			s.endEvent()
		}
		s.ended = s.ended || s.framing == array && s.json.Complete()
	}
}

// endEvent takes the end of an event of any framing.
func (s *Scanner) endEvent() {
	s.facts.failed = s.facts.failed || s.complains()
	if s.facts.failed || s.facts.mishap {
		s.faults++
	}
	if s.facts.failed && s.failure == nil {
		text := s.text
		if s.framing == array {
			text = bytes.TrimLeft(text, "[, \t\r\n")
		}
		s.failure = bytes.Clone(bytes.TrimSpace(text))
	}
	switch {
	case s.facts.counted:
		s.broke = false
	case s.facts.failed && !s.Final():
		s.broke = true
	}
	whole := s.framing == document && s.json.Complete() || s.framing == array && s.facts.ended
	if (s.facts.output || whole && !s.facts.failed) && s.firstOutput < 0 {
		s.firstOutput = s.count
	}
	if s.facts.output {
		s.facts.outputs++
	}
	if s.facts.counted {
		s.facts.early, s.facts.counted = s.facts.outputs == 0, false
	}
	s.started = s.started || s.firstOutput >= 0
	if !s.facts.cut {
		s.ended = s.ended || whole || s.facts.ended
		s.closed = s.facts.whole()
	}
	s.count++
	if s.facts.settled || s.facts.mishap {
		s.endTurn()
	}
	s.facts.typed, s.facts.output, s.facts.ended, s.facts.failed, s.facts.cut = false, false, false, false, false
	s.facts.complaint, s.facts.known = false, false
	s.text = s.text[:0]
}

// keep appends a piece to text, as far as it is to be kept.
func keep(text, piece []byte) []byte {
	piece = piece[:min(len(piece), maxEvent-len(text))]
	if free := cap(text) - len(text); len(piece) > free {
		grown := make([]byte, len(text), min(maxEvent, max(2*cap(text), len(text)+len(piece), 512)))
		copy(grown, text)
		text = grown
	}

	return append(text, piece...)
}
