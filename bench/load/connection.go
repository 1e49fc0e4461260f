// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// connection is one HTTP/1.1 connection. It writes requests that were made in
// advance, and knows when the bytes at hand came off the socket: a client that
// costs little, since it shares its processor with the provider.
type connection struct {
	net.Conn
	reader *bufio.Reader
	// at is when the latest bytes were read.
	at     time.Time
	buffer []byte
	events events
}

const (
	dialTimeout = 5 * time.Second
	callTimeout = 2 * time.Minute
)

func dial(address string, from func() net.IP) (*connection, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	if from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: from()}
	}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, buffer: make([]byte, 16<<10)}
	c.reader = bufio.NewReader(c)
	return c, nil
}

// Read notes the time at which bytes come.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.at = time.Now()
	return n, err
}

// errIncomplete is a stream that ended without its terminator.
var errIncomplete = errors.New("the stream ended before [DONE]")

// call sends request and reads the answer to its end. Every stamped event is
// told to seen. It reports whether the connection can be used again.
func (c *connection) call(request []byte, want int, seen func(sent, received time.Time)) (keep bool, err error) {
	if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return false, err
	}
	if _, err := c.Write(request); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	stream := strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")
	c.events.reset()
	for {
		n, err := res.Body.Read(c.buffer)
		if stream {
			c.events.read(c.buffer[:n], func(sent time.Time) { seen(sent, c.at) })
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	switch {
	case res.StatusCode != want:
		return !res.Close, fmt.Errorf("status %d", res.StatusCode)
	case stream && !c.events.done:
		return false, errIncomplete
	}
	return !res.Close, nil
}

// events reads along a stream of the simulator.
type events struct {
	// rest is the beginning of a line whose end has not come yet.
	rest []byte
	done bool
}

func (e *events) reset() { e.rest, e.done = e.rest[:0], false }

var doneLine = []byte("data: [DONE]")

// read takes the next piece of the stream and tells each stamp in it.
func (e *events) read(p []byte, stamped func(sent time.Time)) {
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if !whole {
			e.rest = append(e.rest, line...)
			return
		}
		if len(e.rest) > 0 {
			line = append(e.rest, line...)
			e.rest = line[:0]
		}
		if sent, ok := stamp(line); ok {
			stamped(sent)
		}
		e.done = e.done || bytes.HasPrefix(line, doneLine)
		p = rest
	}
}

// stampDigits is how many digits the simulator's clock has, in nanoseconds.
const stampDigits = 19

// stamp finds the simulator's clock in an event: @, its digits, and @.
func stamp(line []byte) (time.Time, bool) {
	_, after, found := bytes.Cut(line, []byte("@"))
	if !found || len(after) <= stampDigits || after[stampDigits] != '@' {
		return time.Time{}, false
	}
	var nanoseconds int64
	for _, c := range after[:stampDigits] {
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
		nanoseconds = nanoseconds*10 + int64(c-'0')
	}
	return time.Unix(0, nanoseconds), true
}
