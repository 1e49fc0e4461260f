// SPDX-License-Identifier: Apache-2.0

// Package websocket reads along the frames of a WebSocket as they come by
// (RFC 6455), and knows what is to be asked of its handshake.
//
// A [Scanner] is written to like a file, in pieces of any size, and tells a
// [Visitor] what messages it finds. They are handed on in pieces as well, so a
// message may be of any size while the scanner's memory is fixed. It changes
// nothing and answers nothing: that is for the two ends.
package websocket

import "encoding/binary"

const (
	// maxHead is the length of the longest head of a frame: two bytes, the
	// length in eight more, and a mask.
	maxHead = 14
	// maxControl is the length of the longest control frame's payload.
	maxControl = 125
	// maxPlain is how much of a payload is unmasked at a time, in bytes.
	maxPlain = 512
)

// The kinds of frames that matter here. Those from opClose on are control
// frames, which may stand between the frames of a message.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
)

// The status codes of a Close frame that tell of no fault.
const (
	CloseNormal    = 1000
	CloseGoingAway = 1001
	// CloseNoStatus stands for a Close frame that states no code.
	CloseNoStatus = 1005
)

// Visitor is told what a scanner finds. What it is given is valid during the
// call only.
type Visitor interface {
	// Message is called with the next piece of the current message's payload,
	// text or binary.
	Message(p []byte)
	// MessageEnd is called when the current message has ended.
	MessageEnd()
	// Close is called for a Close frame, with its status code and the reason
	// behind it, of at most 123 bytes.
	Close(code int, reason []byte)
}

// Scanner finds the messages that one side sends. The zero value needs a
// Reset. It is not safe for concurrent use.
//
// What breaks the protocol is passed over as long as it is clear where the
// next frame begins: the two ends will settle that between them.
type Scanner struct {
	visitor Visitor
	// head has the first bytes of a frame's head, of which it has headN so
	// far; size is how many they will be, as far as that is known yet.
	head        [maxHead]byte
	headN, size int
	// left is how much of the frame's payload is still to come.
	left uint64
	// opcode is the frame's kind, final says that it ends its message, and
	// plain that its payload is as it was written, not compressed.
	opcode       byte
	final, plain bool
	masked       bool
	mask         [4]byte
	// turn is how much of the payload has been unmasked; plainText is where.
	turn      uint64
	plainText [maxPlain]byte
	// open says that a message has begun and not ended, readable that it is
	// told of.
	open, readable bool
	// control has the beginning of a Close frame's payload.
	control  [maxControl]byte
	controlN int
	// broken says that nothing tells any more where a frame begins.
	broken bool
}

// Reset prepares the scanner for another connection.
func (s *Scanner) Reset(v Visitor) { *s = Scanner{visitor: v, size: 2} }

// Between tells whether what came so far ends with a frame.
func (s *Scanner) Between() bool { return s.headN == 0 && !s.broken }

// Closing tells whether the frame that is going by, or came last, is a Close
// frame.
func (s *Scanner) Closing() bool { return s.opcode == opClose }

// Write takes the next piece of what was sent. It never fails and keeps no
// part of p.
func (s *Scanner) Write(p []byte) {
	for len(p) > 0 && !s.broken {
		if s.headN < s.size {
			n := copy(s.head[s.headN:s.size], p)
			s.headN += n
			p = p[n:]
			if s.headN == s.size {
				s.readHead()
			}

			continue
		}
		n := int(min(uint64(len(p)), s.left))
		s.payload(p[:n])
		p = p[n:]
		s.left -= uint64(n)
		if s.left == 0 {
			s.endFrame()
		}
	}
}

// readHead takes as much of a head as is there: at first that it will be
// longer, and in the end all of it.
func (s *Scanner) readHead() {
	short := s.head[1] & 0x7f
	s.masked = s.head[1]&0x80 != 0
	size := 2
	switch short {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	lengthEnd := size
	if s.masked {
		size += len(s.mask)
	}
	if s.size < size {
		s.size = size

		return
	}
	switch short {
	case 126:
		s.left = uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		s.left = binary.BigEndian.Uint64(s.head[2:])
	default:
		s.left = uint64(short)
	}
	if s.masked {
		copy(s.mask[:], s.head[lengthEnd:])
	}
	s.beginFrame()
}

// beginFrame takes the whole head of a frame.
func (s *Scanner) beginFrame() {
	s.final, s.opcode = s.head[0]&0x80 != 0, s.head[0]&0x0f
	s.plain = s.head[0]&0x70 == 0
	s.turn, s.controlN = 0, 0
	if s.left>>63 != 0 {
		s.broken = true

		return
	}
	if s.opcode == opText || s.opcode == opBinary {
		if s.open && s.readable {
			s.visitor.MessageEnd()
		}
		s.open, s.readable = true, s.plain
	}
	if s.left == 0 {
		s.endFrame()
	}
}

// payload takes a piece of a frame's payload.
func (s *Scanner) payload(p []byte) {
	switch {
	case s.opcode == opClose && s.plain:
		n := copy(s.control[s.controlN:], p)
		s.unmask(s.control[s.controlN:s.controlN+n], p[:n])
		s.controlN += n
	case !s.isData() || !s.open || !s.readable:
	case !s.masked:
		s.visitor.Message(p)
	default:
		for len(p) > 0 {
			n := min(len(p), maxPlain)
			s.unmask(s.plainText[:n], p[:n])
			s.visitor.Message(s.plainText[:n])
			p = p[n:]
		}
	}
}

// isData tells whether the frame is part of a message.
func (s *Scanner) isData() bool { return s.opcode <= opBinary }

// unmask writes into plain what the next bytes of the payload, p, say.
func (s *Scanner) unmask(plain, p []byte) {
	if !s.masked {
		return // it has been copied
	}
	for i, c := range p {
		plain[i] = c ^ s.mask[(s.turn+uint64(i))&3]
	}
	s.turn += uint64(len(p))
}

// endFrame takes the end of a frame.
func (s *Scanner) endFrame() {
	s.headN, s.size = 0, 2
	switch {
	case s.opcode == opClose && s.plain:
		code, reason := CloseNoStatus, s.control[:0]
		if s.controlN >= 2 {
			code, reason = int(binary.BigEndian.Uint16(s.control[:])), s.control[2:s.controlN]
		}
		s.visitor.Close(code, reason)
	case s.isData() && s.open && s.final:
		s.open = false
		if s.readable {
			s.visitor.MessageEnd()
		}
	}
}
