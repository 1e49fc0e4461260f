// SPDX-License-Identifier: Apache-2.0

// Package eventstream reads AWS event streams as they come by: the binary
// frames of the media type application/vnd.amazon.eventstream.
//
// A [Scanner] is written to like a file, in pieces of any size, and tells a
// [Visitor] what it finds. Payloads are handed on in pieces as well, so a
// frame may be of any size while the scanner's memory is fixed.
//
// A frame is its length and that of its headers, a checksum of these two, the
// headers, the payload, and a checksum of all that; numbers are big-endian.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
package eventstream

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	// PreludeSize is how many bytes tell the size of a frame.
	PreludeSize = 12
	// sumSize is the length of the checksum at the end of a frame.
	sumSize = 4
)

// maxValue bounds, in bytes, how much of a header's text is reported.
const maxValue = 256

// Visitor is told what a scanner finds. What it is given is valid during the
// call only.
type Visitor interface {
	// Header is called for each header that is a text. Of one longer than
	// maxValue it is given the beginning.
	Header(name, value []byte)
	// Payload is called with the next piece of the frame's payload.
	Payload(p []byte)
	// Frame is called when a frame has ended and its checksum was right.
	Frame()
}

// part is what of a frame a scanner expects next.
type part uint8

const (
	inPrelude part = iota
	inHeaders
	inPayload
	inSum
	broken // nothing: the frames are not what they say
)

// Scanner finds the frames of one stream. The zero value needs a Reset. It is
// not safe for concurrent use.
type Scanner struct {
	visitor Visitor
	part    part
	// left is how much of the part is still to come, payload how long the
	// frame's payload is.
	left, payload int64
	sum           uint32
	// kept has the n first bytes of the prelude, or of the checksum.
	kept    [PreludeSize]byte
	n       int
	headers headerReader
}

// Reset prepares the scanner for another stream.
func (s *Scanner) Reset(v Visitor) {
	*s = Scanner{visitor: v, left: PreludeSize}
}

// IsPrelude tells whether p, of which the first PreludeSize bytes matter,
// begins a frame.
func IsPrelude(p []byte) bool {
	return len(p) >= PreludeSize && crc32.ChecksumIEEE(p[:8]) == binary.BigEndian.Uint32(p[8:])
}

// Write takes the next piece of the stream. It never fails and keeps no part
// of p.
func (s *Scanner) Write(p []byte) {
	for len(p) > 0 && s.part != broken {
		piece := p[:min(int64(len(p)), s.left)]
		p = p[len(piece):]
		s.left -= int64(len(piece))
		if s.part != inSum {
			s.sum = crc32.Update(s.sum, crc32.IEEETable, piece)
		}
		switch s.part {
		case inPrelude, inSum:
			s.n += copy(s.kept[s.n:], piece)
		case inHeaders:
			s.headers.read(piece, s.visitor)
		case inPayload:
			s.visitor.Payload(piece)
		}
		for s.left == 0 && s.part != broken {
			s.next()
		}
	}
}

// next takes the end of a part.
func (s *Scanner) next() {
	switch s.part {
	case inPrelude:
		s.begin()
	case inHeaders:
		s.part, s.left = inPayload, s.payload
		if !s.headers.whole() {
			s.part = broken
		}
	case inPayload:
		s.part, s.left, s.n = inSum, sumSize, 0
	case inSum:
		if binary.BigEndian.Uint32(s.kept[:]) != s.sum {
			s.part = broken

			return
		}
		s.part, s.left, s.n, s.sum = inPrelude, PreludeSize, 0, 0
		s.visitor.Frame()
	}
}

// begin takes the prelude of a frame.
func (s *Scanner) begin() {
	length := int64(binary.BigEndian.Uint32(s.kept[:]))
	headers := int64(binary.BigEndian.Uint32(s.kept[4:]))
	s.payload = length - headers - PreludeSize - sumSize
	s.part, s.left = inHeaders, headers
	s.headers = headerReader{}
	if !IsPrelude(s.kept[:]) || s.payload < 0 {
		s.part = broken
	}
}
