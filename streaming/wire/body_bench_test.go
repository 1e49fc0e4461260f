// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// BenchmarkReadBody looks for model and stream flag in prompts of several
// sizes.
func BenchmarkReadBody(b *testing.B) {
	path := &url.URL{Path: "/v1/chat/completions"}
	line := "Please weigh the options and say \"why\" in a few words.\n"
	for _, size := range []int{1 << 10, 200 << 10} {
		body, err := json.Marshal(map[string]any{
			"model": "gpt-4o", "stream": true,
			"messages": []map[string]string{{"role": "user", "content": strings.Repeat(line, size/len(line))}},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				request, err := wire.Recognize(http.MethodPost, path, http.Header{})
				if err != nil {
					b.Fatal(err)
				}
				if err := request.ReadBody("application/json", body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
