// SPDX-License-Identifier: Apache-2.0

// Package eventstreamtest spells frames of an AWS event stream out, for tests.
package eventstreamtest

import (
	"encoding/binary"
	"hash/crc32"
)

// Frame returns a frame of that payload. Its headers come in pairs, and are
// texts.
func Frame(payload string, headers ...string) string {
	var fields []byte
	for i := 0; i < len(headers); i += 2 {
		fields = append(fields, byte(len(headers[i])))
		fields = append(fields, headers[i]...)
		fields = append(fields, 7)
		fields = binary.BigEndian.AppendUint16(fields, uint16(len(headers[i+1])))
		fields = append(fields, headers[i+1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(fields)+len(payload)+16))
	b = binary.BigEndian.AppendUint32(b, uint32(len(fields)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, fields...), payload...)

	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}
