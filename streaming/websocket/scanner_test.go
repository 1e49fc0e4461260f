// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
)

// frame spells a frame out.
func frame(first byte, payload string, mask []byte) string {
	return string(websockettest.Frame(first, []byte(payload), mask))
}

// final is what the first byte of a message's last frame has besides its kind.
const final = websockettest.Last

// notes writes down what a scanner finds: each message on a line.
type notes struct {
	text    strings.Builder
	message strings.Builder
	// pieces is how many pieces of messages came, and quiet that nothing else
	// is noted.
	pieces int
	quiet  bool
}

func (n *notes) Message(p []byte) {
	n.pieces++
	if !n.quiet {
		n.message.Write(p)
	}
}

func (n *notes) MessageEnd() {
	if !n.quiet {
		fmt.Fprintf(&n.text, "%.40q\n", n.message.String())
		n.message.Reset()
	}
}

func (n *notes) Close(code int, reason []byte) {
	fmt.Fprintf(&n.text, "close %d %q\n", code, reason)
}

// scan writes text in pieces of the sizes that size returns.
func scan(text string, size func() int) (found string, s *Scanner) {
	n := new(notes)
	s = new(Scanner)
	s.Reset(n)
	for rest := []byte(text); len(rest) > 0; {
		piece := bytes.Clone(rest[:min(size(), len(rest))])
		s.Write(piece)
		clear(piece) // whoever keeps it sees that
		rest = rest[len(piece):]
	}
	return n.text.String() + n.message.String(), s
}

func TestMessagesAreFoundAmongTheFrames(t *testing.T) {
	mask := []byte{0x12, 0xff, 0, 0x80}
	long := strings.Repeat("0123456789", 30)
	huge := strings.Repeat("x", 70_000)
	for name, test := range map[string]struct{ sent, want string }{
		"a text":                  {frame(final|opText, "hello", nil), `"hello"` + "\n"},
		"a masked text":           {frame(final|opText, "hello", mask), `"hello"` + "\n"},
		"binary":                  {frame(final|opBinary, "\x00\xff", nil), `"\x00\xff"` + "\n"},
		"nothing":                 {frame(final|opText, "", nil) + frame(final|opText, "", mask), `""` + "\n" + `""` + "\n"},
		"a length of two bytes":   {frame(final|opText, long, mask), fmt.Sprintf("%.40q\n", long)},
		"a length of eight bytes": {frame(final|opText, huge, nil) + frame(final|opText, "next", nil), fmt.Sprintf("%.40q\n%q\n", huge, "next")},
		"fragments": {
			frame(opText, "one ", nil) + frame(opContinuation, "", nil) + frame(opContinuation, "two ", nil) + frame(final|opContinuation, "three", nil),
			`"one two three"` + "\n",
		},
		"a ping among fragments": {
			frame(opText, "a", mask) + frame(final|0x9, "ping", mask) + frame(final|opContinuation, "b", mask) + frame(final|0xa, "", mask),
			`"ab"` + "\n",
		},
		"a close":                   {frame(final|opClose, "\x03\xf3no more", mask), `close 1011 "no more"` + "\n"},
		"a close among fragments":   {frame(opText, "a", nil) + frame(final|opClose, "\x03\xe8", nil), `close 1000 ""` + "\n" + "a"},
		"a close without a code":    {frame(final|opClose, "", nil), `close 1005 ""` + "\n"},
		"a close with half a code":  {frame(final|opClose, "\x03", nil), `close 1005 ""` + "\n"},
		"a compressed message":      {frame(final|0x40|opText, "zip", nil) + frame(final|opText, "plain", nil), `"plain"` + "\n"},
		"a compressed one in parts": {frame(0x40|opText, "zip", nil) + frame(final|opContinuation, "zap", nil) + frame(final|opText, "plain", nil), `"plain"` + "\n"},
		"kinds nobody knows":        {frame(final|0x3, "?", nil) + frame(final|0xb, "?", nil) + frame(final|opText, "plain", nil), `"plain"` + "\n"},
		"a part of nothing":         {frame(final|opContinuation, "lost", nil) + frame(final|opText, "plain", nil), `"plain"` + "\n"},
		"a message within another":  {frame(opText, "half", nil) + frame(final|opText, "whole", nil), `"half"` + "\n" + `"whole"` + "\n"},
		"a close that is too long":  {frame(final|opClose, "\x03\xe8"+long, mask) + frame(final|opText, "on", mask), fmt.Sprintf("close 1000 %q\n%q\n", long[:maxControl-2], "on")},
		"a length beyond all":       {"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff" + frame(final|opText, "lost", nil), ""},
	} {
		for _, size := range []int{1, 2, 3, 7, 600, len(test.sent)} {
			if got, _ := scan(test.sent, func() int { return size }); got != test.want {
				t.Errorf("%s, in pieces of %d:\n got %s\nwant %s", name, size, got, test.want)
			}
		}
	}
}

func TestReadingAllocatesNothingPerFrame(t *testing.T) {
	n := &notes{quiet: true}
	var s Scanner
	s.Reset(n)
	frames := []byte(frame(opText, strings.Repeat("hello", 500), nil) + frame(final|0x9, "ping", nil) +
		frame(final|opContinuation, "end", nil) + frame(final|opText, strings.Repeat("hello", 500), []byte{1, 2, 3, 4}))
	if allocs := testing.AllocsPerRun(1000, func() { s.Write(frames[:50]); s.Write(frames[50:]) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if n.pieces < 3000 || !s.Between() {
		t.Errorf("%d pieces were read", n.pieces)
	}
	if size := unsafe.Sizeof(s); size > 1<<10 {
		t.Errorf("a scanner takes %d bytes", size)
	}
}

// reference finds the same by looking at all of it at once.
func reference(sent string) string {
	n := new(notes)
	open, readable := false, false
	for len(sent) >= 2 {
		first, second := sent[0], sent[1]
		length, rest := uint64(second&0x7f), sent[2:]
		if width := map[uint64]int{126: 2, 127: 8}[length]; width > 0 {
			if len(rest) < width {
				break
			}
			length = 0
			for _, c := range []byte(rest[:width]) {
				length = length<<8 | uint64(c)
			}
			rest = rest[width:]
		}
		var mask string
		if second&0x80 != 0 {
			if len(rest) < 4 {
				break
			}
			mask, rest = rest[:4], rest[4:]
		}
		if length>>63 != 0 {
			break
		}
		payload := []byte(rest[:min(length, uint64(len(rest)))])
		for i := range payload {
			if mask != "" {
				payload[i] ^= mask[i&3]
			}
		}
		whole := uint64(len(payload)) == length
		sent = rest[len(payload):]
		switch opcode := first & 0x0f; {
		case opcode == opClose:
			if first&0x70 != 0 || !whole {
				continue
			}
			code, reason := CloseNoStatus, []byte(nil)
			if payload = payload[:min(len(payload), maxControl)]; len(payload) >= 2 {
				code, reason = int(payload[0])<<8|int(payload[1]), payload[2:]
			}
			n.Close(code, reason)
		case opcode <= opBinary:
			if opcode != opContinuation {
				if open && readable {
					n.MessageEnd()
				}
				open, readable = true, first&0x70 == 0
			}
			if !open {
				continue
			}
			if readable && len(payload) > 0 {
				n.Message(payload)
			}
			if first&final != 0 && whole {
				open = false
				if readable {
					n.MessageEnd()
				}
			}
		}
	}
	return n.text.String() + n.message.String()
}

func FuzzScanner(f *testing.F) {
	mask := []byte{9, 8, 7, 6}
	for _, seed := range []string{
		frame(final|opText, "hello", nil), frame(final|opText, "hello", mask),
		frame(opText, "a", mask) + frame(final|0x9, "ping", nil) + frame(final|opContinuation, "b", mask),
		frame(final|opClose, "\x03\xe8bye", mask), frame(final|opBinary, strings.Repeat("x", 300), nil),
		frame(final|0x40|opText, "zip", nil), "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "\x81\x7e\x00\x01a",
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, sent []byte, seed uint64) {
		want := reference(string(sent))
		random := rand.New(rand.NewPCG(seed, 0))
		for _, size := range []func() int{
			func() int { return len(sent) }, func() int { return 1 }, func() int { return 1 + random.IntN(20) },
		} {
			if got, _ := scan(string(sent), size); got != want {
				t.Fatalf("%x:\n got %s\nwant %s", sent, got, want)
			}
		}
	})
}

// BenchmarkScanner reads messages as long as realtime events often are.
func BenchmarkScanner(b *testing.B) {
	var s Scanner
	s.Reset(&notes{quiet: true})
	message := []byte(frame(final|opText, strings.Repeat("hello", 60), nil))
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		s.Write(message)
	}
}
