// SPDX-License-Identifier: Apache-2.0

// Package websockettest spells frames of a WebSocket out, for tests that must
// know every byte of them.
package websockettest

import (
	"encoding/binary"
	"slices"
)

// What the first byte of a frame says. Last is that of every frame but those
// which a further one of the same message follows, together with what it is;
// by itself it ends a message that has begun.
const (
	Last   byte = 0x80
	Text   byte = 0x01
	Binary byte = 0x02
	Close  byte = 0x88
	Ping   byte = 0x89
	Pong   byte = 0x8a
)

// Frame returns a frame of that first byte and payload, with the shortest
// head. A mask of four bytes sends it as clients do, one of nil as servers do.
func Frame(first byte, payload, mask []byte) []byte {
	var masked byte
	if mask != nil {
		masked = 0x80
	}
	head := []byte{first}
	switch n := len(payload); {
	case n < 126:
		head = append(head, masked|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, masked|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, masked|127), uint64(n))
	}
	body := slices.Clone(payload)
	for i := range body {
		if mask != nil {
			body[i] ^= mask[i&3]
		}
	}

	return slices.Concat(head, mask, body)
}
