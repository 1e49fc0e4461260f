// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"testing"
)

func TestBufferIsNotUsedAgainWhileItIsRead(t *testing.T) {
	call := &Call{Buffer: NewBuffer(minBuffer)}
	call.Body = call.Buffer.Bytes()
	copy(call.Body, bytes.Repeat([]byte("a"), len(call.Body)))
	open := call.opener(call.Body)
	reader, err := open()
	if err != nil {
		t.Fatal(err)
	}
	call.dropBody()

	// Whoever takes a buffer now must not get the one that is being read.
	other := NewBuffer(minBuffer)
	copy(other.Bytes(), bytes.Repeat([]byte("b"), minBuffer))
	sent, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(sent, bytes.Repeat([]byte("a"), minBuffer)) {
		t.Errorf("the body changed while it was sent: %v", err)
	}
	if err := errors.Join(reader.Close(), reader.Close()); err != nil {
		t.Error(err)
	}
	if n, err := reader.Read(make([]byte, 1)); n > 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("a closed body was read: %d bytes, %v", n, err)
	}
	if _, err := open(); !errors.Is(err, errDropped) {
		t.Errorf("a body that was given up was opened again: %v", err)
	}
}

func TestSmallBodyIsOfATypeThatNetHTTPKnows(t *testing.T) {
	call := &Call{Body: []byte("{}"), Buffer: NewBuffer(2)}
	reader, err := call.opener(call.Body)()
	if err != nil {
		t.Fatal(err)
	}
	// net/http looks for this type to send head and body in one go.
	if want := io.NopCloser(bytes.NewReader(nil)); call.Buffer != nil || reflect.TypeOf(reader) != reflect.TypeOf(want) {
		t.Errorf("a small body is a %T with buffer %v", reader, call.Buffer)
	}
}
