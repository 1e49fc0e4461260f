// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

type nobody struct{}

func (nobody) Value(jsonscan.ID, jsonscan.Value) {}
func (nobody) Open(jsonscan.ID, jsonscan.Kind)   {}
func (nobody) Close(jsonscan.ID)                 {}

const chunk = `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","service_tier":"default",` +
	`"choices":[{"index":0,"delta":{"content":" world"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x8dfk2"}`

func BenchmarkScanner(b *testing.B) {
	for name, text := range map[string]string{
		"chunk":  chunk,
		"base64": `{"model":"` + strings.Repeat("aGVsbG8gd29ybGQ", 10_000) + `"}`,
		"floats": `{"x":[` + strings.Repeat("0.0123456789,", 1536) + `1]}`,
	} {
		b.Run(name, func(b *testing.B) {
			var s jsonscan.Scanner
			body := []byte(text)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				s.Reset(paths, nobody{})
				s.Write(body)
				s.End()
				if !s.Complete() {
					b.Fatal("not complete")
				}
			}
		})
	}
}

// BenchmarkForms reads a text that is built as the one before it.
func BenchmarkForms(b *testing.B) {
	learning := jsonscan.Compile(places).LearnForms()
	var s jsonscan.Scanner
	body := []byte(chunk)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(learning, nobody{})
		s.Write(body)
		s.End()
		if !s.Complete() {
			b.Fatal("not complete")
		}
	}
}

func TestScanningAllocatesNothing(t *testing.T) {
	var s jsonscan.Scanner
	body := []byte(chunk)
	if n := testing.AllocsPerRun(100, func() {
		s.Reset(paths, nobody{})
		s.Write(body[:40])
		s.Write(body[40:])
		s.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
