// SPDX-License-Identifier: Apache-2.0

package eventstream

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// frame writes a frame whose headers are given with their names, types and
// values already in place.
func frame(headers, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(PreludeSize+len(headers)+len(payload)+sumSize))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(b, headers...)
	b = append(b, payload...)

	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func textHeader(name, value string) string {
	return string(rune(len(name))) + name + "\x07" + string(binary.BigEndian.AppendUint16(nil, uint16(len(value)))) + value
}

// log writes down what a scanner tells.
type log struct {
	strings.Builder
	payload string
}

func (l *log) Header(name, value []byte) { fmt.Fprintf(l, "%s=%s ", name, value) }
func (l *log) Payload(p []byte)          { l.payload += string(p) }
func (l *log) Frame() {
	fmt.Fprintf(l, "%s; ", l.payload)
	l.payload = ""
}

func read(stream []byte, size int) (told string, isWhole, isBroken bool) {
	var s Scanner
	l := &log{}
	s.Reset(l)
	for len(stream) > 0 {
		n := min(size, len(stream))
		s.Write(stream[:n])
		stream = stream[n:]
	}

	return strings.TrimSpace(l.String()), s.part == inPrelude && s.n == 0, s.part == broken
}

func TestFramesAreReadHoweverTheyAreCut(t *testing.T) {
	long := strings.Repeat("x", 1000)
	stream := frame(textHeader(":message-type", "event")+textHeader(":event-type", "chunk"), `{"a":1}`)
	stream = append(stream, frame("", "")...)
	stream = append(stream, frame("\x01a\x00\x01b\x01\x01c\x02.\x01d\x03..\x01e\x04....\x01f\x05........\x01g\x06\x00\x01.\x01h\x08........\x01i\x09................"+
		textHeader("j", "")+textHeader("k", long), long)...)
	want := ":message-type=event :event-type=chunk {\"a\":1}; ; j= k=" + long[:maxValue] + " " + long + ";"
	for size := 1; size <= len(stream); size++ {
		if got, whole, broken := read(stream, size); got != want || !whole || broken {
			t.Fatalf("in pieces of %d: %q, whole %t, broken %t", size, got, whole, broken)
		}
	}
}

func TestNothingIsReadBehindABrokenFrame(t *testing.T) {
	good := frame(textHeader("a", "b"), "good")
	for name, spoil := range map[string]func(b []byte) []byte{
		"prelude":       func(b []byte) []byte { b[3]++; return b },
		"payload":       func(b []byte) []byte { b[len(b)-5]++; return b },
		"checksum":      func(b []byte) []byte { b[len(b)-1]++; return b },
		"header's type": func([]byte) []byte { return frame("\x01a\x0a", "") },
		"header's name": func([]byte) []byte { return frame("\x00\x07\x00\x00", "") },
		"half a header": func([]byte) []byte { return frame("\x01a\x07\x00", "") },
		"no frame":      func([]byte) []byte { return []byte("data: {\"a\":1}\n\n") },
		"negative length": func([]byte) []byte {
			b := binary.BigEndian.AppendUint32(nil, PreludeSize)
			b = binary.BigEndian.AppendUint32(b, 0)

			return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		},
	} {
		stream := append(append([]byte{}, good...), spoil(append([]byte{}, good...))...)
		stream = append(stream, good...)
		for _, size := range []int{1, 3, len(stream)} {
			got, whole, broken := read(stream, size)
			if strings.Count(got, "good;") != 1 || whole || !broken {
				t.Errorf("%s in pieces of %d: %q, whole %t, broken %t", name, size, got, whole, broken)
			}
		}
	}
}

func TestHalfAFrameIsNotWhole(t *testing.T) {
	stream := frame(textHeader("a", "b"), "payload")
	for n := 1; n < len(stream); n++ {
		if got, whole, broken := read(stream[:n], n); strings.Contains(got, ";") || whole || broken {
			t.Errorf("%d bytes: %q, whole %t, broken %t", n, got, whole, broken)
		}
	}
}

func TestScanningAllocatesNothing(t *testing.T) {
	stream := frame(textHeader(":event-type", "chunk"), strings.Repeat("x", 100))
	var s Scanner
	s.Reset(nobody{})
	if n := testing.AllocsPerRun(100, func() {
		s.Write(stream[:20])
		s.Write(stream[20:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type nobody struct{}

func (nobody) Header(_, _ []byte) {}
func (nobody) Payload([]byte)     {}
func (nobody) Frame()             {}

func FuzzScanner(f *testing.F) {
	f.Add(frame(textHeader("a", "b"), "payload"), uint8(1))
	f.Add(append(frame("\x01a\x00", ""), frame("", "x")...), uint8(5))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		told, whole, broken := read(stream, max(1, len(stream)))
		cut, cutWhole, cutBroken := read(stream, int(size)+1)
		if told != cut || whole != cutWhole || broken != cutBroken {
			t.Errorf("whole: %q %t %t\npieces: %q %t %t", told, whole, broken, cut, cutWhole, cutBroken)
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	stream := frame(textHeader(":message-type", "event")+textHeader(":event-type", "chunk"), strings.Repeat("x", 300))
	var s Scanner
	s.Reset(nobody{})
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		s.Write(stream)
	}
}
