// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Buffer is the memory of one large request body. It is used again for other
// calls once nobody reads it any more: a fresh one for each call would have to
// be cleared and collected, which costs more than reading it.
type Buffer struct {
	bytes []byte
	// users are the call and the readers that are open.
	users atomic.Int32
}

// minBuffer is the size from which a body has a Buffer, in bytes. Less costs
// little to collect, and net/http sends head and body in one go only for a
// body whose type it knows.
const minBuffer = 32 << 10

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// NewBuffer returns a buffer of that size, or nil if so little does not need
// one. Its user must release it.
func NewBuffer(size int64) *Buffer {
	if size < minBuffer {
		return nil
	}
	b := buffers.Get().(*Buffer)
	if int64(cap(b.bytes)) < size {
		b.bytes = make([]byte, size)
	}
	b.bytes = b.bytes[:size]
	b.users.Store(1)
	return b
}

// Bytes returns the memory.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Release ends one use of b. The last one gives it back.
func (b *Buffer) Release() {
	if b.users.Add(-1) == 0 {
		buffers.Put(b)
	}
}

// reader returns a body that reads b, for as long as it is open.
func (b *Buffer) reader() io.ReadCloser {
	b.users.Add(1)
	r := &bufferReader{buffer: b}
	r.rest.Reset(b.bytes)
	return r
}

// bufferReader is a request body on its way upstream. net/http may close it
// while it reads it, and read it after the answer has come; so the two exclude
// each other, and nothing is read once it is closed.
type bufferReader struct {
	mu     sync.Mutex
	rest   bytes.Reader
	buffer *Buffer
}

// Read reads on.
func (r *bufferReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buffer == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return r.rest.Read(p)
}

// Close ends the use of the buffer.
func (r *bufferReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buffer != nil {
		r.rest.Reset(nil)
		r.buffer.Release()
		r.buffer = nil
	}
	return nil
}
