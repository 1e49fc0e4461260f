// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"net/http"
	"regexp"
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

// CloseAnswer returns the answer that would say the same as the Close frame with
// which a provider ends a session: to be judged as that would be.
func CloseAnswer(code int, reason string) (status int, body []byte) {
	status, ok := closeStatuses[code]
	switch {
	case closeQuota.MatchString(reason):
		status = http.StatusTooManyRequests
	case code >= 4400 && code < 4600:
		status = code - 4000 // private codes often are the statuses of HTTP
	case !ok:
		status = http.StatusBadRequest
	}
	said := map[string]string{"message": reason}
	if found := closeCode.FindStringSubmatch(reason); found != nil {
		said["code"] = found[1]
	}
	// Strings always encode.
	body, _ = json.Marshal(map[string]any{"error": said})

	return status, body
}
