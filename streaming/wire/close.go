// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"net/http"
	"regexp"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// closeStatuses is what the codes with which a WebSocket is closed are as the
// status of an answer. The others are about what the client has sent.
var closeStatuses = map[int]int{
	1011: http.StatusInternalServerError,
	1012: http.StatusServiceUnavailable, // restarts
	1013: http.StatusServiceUnavailable, // try again later
	1014: http.StatusBadGateway,
	3000: http.StatusUnauthorized,
	3003: http.StatusForbidden,
	3008: http.StatusRequestTimeout,
}

// closeCode finds the code in a reason such as OpenAI's, which begins with
// "invalid_request_error.invalid_api_key".
var closeCode = regexp.MustCompile(`^[a-z]\w*\.([a-z]\w*)`)

// closeQuota finds reasons that are about how much a key may use. Google gives
// them under the code of a fault of its own.
var closeQuota = regexp.MustCompile(`(?i)exceeded your current quota|resource has been exhausted|rate limit`)

// JudgeClose says what it means for the key and the upstream that the provider
// has closed a session with that status code and reason.
func (r *Request) JudgeClose(code int, reason []byte, now time.Time) keypool.Verdict {
	status, ok := closeStatuses[code]
	switch {
	case closeQuota.Match(reason):
		status = http.StatusTooManyRequests
	case code >= 4400 && code < 4600:
		status = code - 4000 // private codes often are the statuses of HTTP
	case !ok:
		status = http.StatusBadRequest
	}
	said := map[string]string{"message": string(reason)}
	if found := closeCode.FindSubmatch(reason); found != nil {
		said["code"] = string(found[1])
	}
	// Strings always encode.
	body, _ := json.Marshal(map[string]any{"error": said})

	return r.Judge(status, nil, body, now)
}
