// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"io"
	"net/http"
	"strconv"
	"sync"
)

// maxShort is the size up to which an answer is given its length, in bytes.
const maxShort = 16 << 10

var shortAnswers = sync.Pool{New: func() any { return new([maxShort]byte) }}

// measure states the length of an answer that is there already, but whose
// length the provider did not state: its header and body then leave in one go,
// where reverse_proxy would otherwise send the header ahead. Nothing waits for
// it. Only what comes first is looked at, and if that is a whole JSON document,
// only the end of the body can follow.
func (a *answer) measure(res *http.Response) {
	request := a.call.Request
	if res.ContentLength >= 0 || request.Stream || request.Operation.Dialect == nil {
		return
	}
	a.short = shortAnswers.Get().(*[maxShort]byte)
	n, err := a.read(a.short[:])
	for err == nil && a.scan.Ended() && n < len(a.short) {
		var more int
		more, err = a.read(a.short[n:])
		n += more
	}
	a.held, a.heldErr = a.short[:n], err
	if err == io.EOF && len(res.Trailer) == 0 {
		res.ContentLength, res.TransferEncoding = int64(n), nil
		res.Header.Set("Content-Length", strconv.Itoa(n))
	}
}

// dropHeld gives up what was held back, once it has been passed on.
func (a *answer) dropHeld() {
	a.held = nil
	if a.short != nil {
		shortAnswers.Put(a.short)
		a.short = nil
	}
}
