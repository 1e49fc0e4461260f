// SPDX-License-Identifier: Apache-2.0

package sse_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/sse"
)

// log writes down what a scanner finds. Pieces of one thing are joined, for
// they depend on how the stream was cut.
type log struct {
	found []string
	data  string
	// field and value are the field whose pieces are coming.
	field, value string
	stream       []byte
}

func (l *log) Data(p []byte) {
	l.flush()
	l.data += string(p)
}

func (l *log) Event(name []byte, end int64) {
	l.flush()
	if end < 0 || end > int64(len(l.stream)) {
		panic(fmt.Sprintf("an event ends at %d of %d", end, len(l.stream)))
	}
	l.found = append(l.found, fmt.Sprintf("%s{%s}", name, l.data))
	l.data = ""
}

func (l *log) Field(name, p []byte) {
	if string(name) != l.field {
		l.flush()
	}
	l.field = string(name)
	l.value += string(p)
}

func (l *log) Comment() {
	l.flush()
	l.found = append(l.found, "#")
}

func (l *log) flush() {
	if l.value != "" {
		l.found = append(l.found, l.field+"="+l.value)
	}
	l.field, l.value = "", ""
}

// scan scans a stream in pieces of the given sizes, which are repeated.
func scan(stream string, sizes ...int) string {
	l := &log{stream: []byte(stream)}
	var s sse.Scanner
	s.Reset(l)
	rest := []byte(stream)
	for i := 0; len(rest) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(rest))
		piece := bytes.Clone(rest[:n])
		s.Write(piece)
		clear(piece)
		rest = rest[n:]
	}
	s.End()
	l.flush()
	if l.data != "" {
		l.found = append(l.found, "undispatched: "+l.data)
	}

	return strings.Join(l.found, " ")
}

func TestEventsAreFound(t *testing.T) {
	long := strings.Repeat("n", 64)
	for _, test := range []struct{ name, stream, want string }{
		{"nothing", "", ""},
		{"an event", "data: a\n\n", "{a}"},
		{"two events", "data: a\n\ndata: b\n\n", "{a} {b}"},
		{"a name", "event: ping\ndata: {}\n\n", "ping{{}}"},
		{"a name behind the data", "data: {}\nevent: ping\n\n", "ping{{}}"},
		{"the last name", "event: a\nevent: b\ndata: x\n\n", "b{x}"},
		{"a name for one event", "event: a\ndata: x\n\ndata: y\n\n", "a{x} {y}"},
		{"no space", "data:a\nevent:b\n\n", "b{a}"},
		{"one space only", "data:  a \n\n", "{ a }"},
		{"many lines", "data: a\ndata:\ndata: b\n\n", "{a\n\nb}"},
		{"carriage returns", "data: a\r\rdata: b\r\r", "{a} {b}"},
		{"both", "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", "{a\nb} {c}"},
		{"mixed", "data: a\r\n\rdata: b\n\r\ndata: c\r\n\n", "{a} {b} {c}"},
		{"extra blank lines", "\n\ndata: a\n\n\n\ndata: b\n\n\n", "{a} {b}"},
		{"a byte order mark", "\ufeffdata: a\n\n", "{a}"},
		{"half a byte order mark", "\xef\xbbdata: a\n\n", "=\xef\xbbdata: a\n"},
		{"a byte order mark later", "data: a\n\n\ufeffdata: b\n\n", "{a} =\ufeffdata: b\n"},
		{"no end of the event", "data: a\n", "{a}"},
		{"no end of the line", "data: a", "{a}"},
		{"the end behind a colon", "data:", "{}"},
		{"the end in a name", "data", "{}"},
		{"empty data", "data:\n\ndata\n\n", "{} {}"},
		{"a name without data", "event: error\n\n", "error{}"},
		{"an empty name", "event:\n\ndata: a\n\n", "{a}"},
		{"a long name", "event: " + long + "n\ndata: a\n\n", long + "{a}"},
		{"comments", ": one\n:\n:two\ndata: a\n: three\n\n", "# # # # {a}"},
		{"other fields", "id: 7\nretry: 100\nerror: {\"code\":500}\n\n", `id=7 retry=100 error={"code":500}`},
		{"a field without a value", "id\ndata: a\n\n", "{a}"},
		{"bare JSON", "data: a\n\n{\n \"error\": {\"code\": 499}\n}\n", "{a} ={\n \"error\": {\"code\": 499}\n}\n"},
		{"plain text", "Internal Server Error\nnope", "=Internal Server Error\nnope\n"},
		{"a long word", long + "n: x\n", "=" + long + "n: x\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, sizes := range [][]int{{max(1, len(test.stream))}, {1}, {2}, {3, 1}, {5}} {
				if got := scan(test.stream, sizes...); got != test.want {
					t.Errorf("in pieces of %v: got %q, want %q", sizes, got, test.want)
				}
			}
		})
	}
}

// ends collects where events end.
type ends struct {
	nobody
	at []int64
}

func (e *ends) Event(_ []byte, end int64) { e.at = append(e.at, end) }

func TestAnEventEndsBehindItsBlankLine(t *testing.T) {
	const stream = "data: a\n\n: x\nevent: b\ndata: b\n\n\ndata: c"
	var e ends
	var s sse.Scanner
	s.Reset(&e)
	for i := range len(stream) {
		s.Write([]byte(stream[i : i+1]))
	}
	s.End()
	if got := fmt.Sprint(e.at); got != "[9 31 39]" {
		t.Errorf("events end at %s", got)
	}
}

func TestAnEventIsReportedWithItsLastByte(t *testing.T) {
	for _, blank := range []string{"\n\n", "\r\r", "\r\n\r"} {
		var e ends
		var s sse.Scanner
		s.Reset(&e)
		s.Write([]byte("data: a" + blank))
		if len(e.at) != 1 {
			t.Errorf("%q: nothing reported yet", blank)
		}
	}
}

type nobody struct{}

func (nobody) Data([]byte)         {}
func (nobody) Event([]byte, int64) {}
func (nobody) Field(_, _ []byte)   {}
func (nobody) Comment()            {}

func TestScanningAllocatesNothing(t *testing.T) {
	var s sse.Scanner
	s.Reset(nobody{})
	stream := []byte(": x\nevent: a\ndata: b\nid: 3\nstray\n\n")
	if n := testing.AllocsPerRun(100, func() { s.Write(stream) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	stream := []byte("event: chunk\ndata: {" + strings.Repeat(`"content":" world",`, 13) + "}\n\n")
	var s sse.Scanner
	s.Reset(nobody{})
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		s.Write(stream)
	}
}

// FuzzScanner wants the same finds however the stream is cut.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"\ufeffevent: a\r\ndata: b\r\n\r\n", ": c\n\ndata:x\rdata:  y\r\r", "{\n \"error\": 1}\n", "id: 1\nretry\nerror: {}\n\ndata", "\xef\xbb\xef",
	} {
		f.Add(seed, uint8(1), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream string, a, b uint8) {
		whole := scan(stream, max(1, len(stream)))
		if cut := scan(stream, int(a)+1, int(b)+1); cut != whole {
			t.Errorf("whole: %q\npieces: %q", whole, cut)
		}
	})
}
