// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// A client that may see the trail gets it with the head of its stream.
func TestTrailReachesTheClient(t *testing.T) {
	g := start(t, strings.Replace(threeKeys, "client app CLIENT", "client app CLIENT\n\t\ttrail_header", 1))
	res, err := http.DefaultClient.Do(g.newRequest(t, "POST", "/v1/chat/completions", chatStreamBody))
	if err != nil {
		t.Fatal(err)
	}
	if status, text := readAll(t, res); status != 200 || !strings.Contains(text, "[DONE]") {
		t.Fatalf("got %d %s", status, text)
	}
	trail := res.Header.Get("X-LLM-Attempts")
	if !regexp.MustCompile(`^limited:rate_limited:\d+,invalid:credential:\d+,good:ok:\d+$`).MatchString(trail) {
		t.Errorf("the trail is %q", trail)
	}
	var logged []string
	for _, attempt := range g.awaitCalls(t, 1)[0]["llm_attempts"].([]any) {
		logged = append(logged, attempt.(string))
	}
	if strings.Join(logged, ",") != trail {
		t.Errorf("the log says %v, the client was told %s", logged, trail)
	}
}
