// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request that no llm_proxy has admitted is told what is missing.
func TestRequestThatWasNotAdmitted(t *testing.T) {
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", "http://localhost:1", "a-"+t.Name())}})
	for path, want := range map[string]string{
		"/v1/messages": `{"type":"error","error":{`,
		"/elsewhere":   `{"error":{`,
	} {
		res, err := tr.RoundTrip(httptest.NewRequest(http.MethodPost, "http://gateway"+path, nil))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusInternalServerError || !strings.HasPrefix(string(text), want) || !strings.Contains(string(text), "add 'llm_proxy'") {
			t.Errorf("%s: got %d %s", path, res.StatusCode, text)
		}
	}
}
