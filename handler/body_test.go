// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
)

func TestBodyOfAnySizeIsReadWhole(t *testing.T) {
	for _, size := range []int{1, 40 << 10, maxTrustedLength, maxTrustedLength + 1, 6*maxTrustedLength + 3} {
		sent := bytes.Repeat([]byte("abcdefghijk"), size/11+1)[:size]
		for _, length := range []int64{int64(size), -1} {
			var call streaming.Call
			if err := readSized(bytes.NewReader(sent), length, &call); err != nil || !bytes.Equal(call.Body, sent) {
				t.Errorf("%d bytes, announced as %d: %d came (%v)", size, length, len(call.Body), err)
			}
			call.Close()
		}
	}
}

func TestAnnouncedLengthAloneGetsLittleMemory(t *testing.T) {
	var call streaming.Call
	err := readSized(bytes.NewReader([]byte("{}")), 1<<30, &call)
	if !errors.Is(err, io.ErrUnexpectedEOF) || cap(call.Body) > maxTrustedLength {
		t.Errorf("two bytes of a gigabyte took %d bytes (%v)", cap(call.Body), err)
	}
}
