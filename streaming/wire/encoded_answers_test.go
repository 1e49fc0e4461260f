// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
)

// encoders write what providers send unasked.
var encoders = map[string]func(io.Writer) interface {
	io.WriteCloser
	Flush() error
}{
	"gzip": func(w io.Writer) interface {
		io.WriteCloser
		Flush() error
	} {
		return gzip.NewWriter(w)
	},
	"br": func(w io.Writer) interface {
		io.WriteCloser
		Flush() error
	} {
		return brotli.NewWriter(w)
	},
}

func TestEncodedAnswersAreReadAlong(t *testing.T) {
	const first = `{"model":"m1","choices":[{"delta":{"content":"hi"}}]}`
	const last = `{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}`
	for name, encoder := range encoders {
		for _, size := range []int{1, 7, 4096} {
			var wire bytes.Buffer
			w := encoder(&wire)
			s := NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, eventStreamType, strings.ToUpper(name))
			pass := func() {
				for wire.Len() > 0 {
					s.Write(wire.Next(size))
				}
			}
			io.WriteString(w, stream(first))
			w.Flush()
			pass()
			if !s.Started() || s.Ended() || s.Result().Model != "m1" {
				t.Errorf("%s in pieces of %d: what was flushed is not read at once: %+v", name, size, s.Result())
			}
			io.WriteString(w, stream(last, "[DONE]"))
			w.Close()
			pass()
			s.Close()
			if got := s.Result(); !s.Ended() || got.Usage.InputTotal() != 5 || got.Finish != "stop" || got.Events != 3 {
				t.Errorf("%s in pieces of %d: %+v", name, size, got)
			}
			s.Release()
		}
	}
}

func TestEncodedAnswersThatAreCutOffAreNotWhole(t *testing.T) {
	for name, encoder := range encoders {
		var wire bytes.Buffer
		w := encoder(&wire)
		io.WriteString(w, `{"model":"m1","choices":[{"finish_reason":null`)
		w.Flush()
		s := NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, jsonType, name)
		s.Write(wire.Bytes())
		s.Close()
		if s.Ended() || s.Result().Model != "m1" || s.Result().Bytes != int64(wire.Len()) {
			t.Errorf("%s: ended %t, %+v", name, s.Ended(), s.Result())
		}
		s.Release()
	}
}

func TestDecodersEndWithTheirScanner(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		s := NewScanner(&Operation{Dialect: dialectChat}, http.StatusOK, jsonType, "gzip")
		s.Write(gzipMagic)
		s.Release()
	}
	for wait := 0; runtime.NumGoroutine() > before+10; wait++ {
		if wait == 100 {
			t.Fatalf("%d goroutines, were %d", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}
