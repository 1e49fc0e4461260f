// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CheckBase refuses a base URL that goes on too far, so that every request
// would be sent to a place that there is not: one that ends in an endpoint, as
// copied from a reference, or in its version twice. The error says what to
// write instead.
func (f *Family) CheckBase(base *url.URL) error {
	path := strings.TrimRight(base.EscapedPath(), "/")
	if end := f.endpointAt(path); end != "" {
		return fmt.Errorf("it ends in the endpoint %s, which is put behind it; write %s", end, upTo(base, path, end))
	}
	before, last := cutLast(path)
	if _, other := cutLast(before); isVersion(last) && other == last {
		return fmt.Errorf("it says the version %s twice; write %s", last, upTo(base, path, last))
	}

	return nil
}

// endpointAt returns the endpoint that a path ends in, without its version;
// nothing if it ends in none.
func (f *Family) endpointAt(path string) string {
	for i := range path {
		if path[i] != '/' {
			continue
		}
		end := path[i:]
		if found, ok := f.recognize(http.MethodPost, end, http.Header{}); ok && found.operation.needsBody {
			return found.path.rest
		}
		// Compatible services have other versions than /v1, or none.
		_, before := cutLast(path[:i])
		if _, more := cutSegment(end); more == "" && !isVersion(before) {
			continue
		}
		if found, ok := f.recognize(http.MethodPost, "/v1"+end, http.Header{}); ok && found.operation.needsBody && found.path.rest == end {
			return end
		}
	}

	return ""
}

// cutLast divides a path into its last segment, with the slash, and what comes
// before.
func cutLast(path string) (before, last string) {
	i := max(strings.LastIndexByte(path, '/'), 0)

	return path[:i], path[i:]
}

// upTo returns a base URL without the end of its path.
func upTo(base *url.URL, path, end string) string {
	return base.Scheme + "://" + base.Host + strings.TrimSuffix(path, end)
}
