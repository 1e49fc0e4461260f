// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strings"
	"testing"
)

// The client's key goes no further than to us, wherever in the request it
// stands: handlers behind us log what they are given.
func TestClientKeyGoesNoFurther(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"bearer token":    request("/v1/chat/completions", chat),
		"header":          request("/v1/messages", chat, "Authorization", "", "X-Api-Key", secret),
		"query parameter": request("/v1beta/models/g:generateContent?key="+secret+"&alt=sse", `{"contents":[]}`, "Authorization", ""),
	} {
		t.Run(name, func(t *testing.T) {
			passed := false
			w := behind(withClient(t), r, func(_ http.ResponseWriter, r *http.Request) error {
				passed = true
				for header, values := range r.Header {
					if strings.Contains(strings.Join(values, " "), secret) {
						t.Errorf("%s: %v goes on", header, values)
					}
				}
				if strings.Contains(r.URL.String(), secret) || strings.Contains(r.RequestURI, secret) {
					t.Errorf("%s, %s goes on", r.URL, r.RequestURI)
				}
				return nil
			})
			if !passed {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}
