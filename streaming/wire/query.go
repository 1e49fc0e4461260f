// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/url"
	"slices"
	"strings"
)

// readQuery finds the model where the handshake of a session names it: in the
// query. It must not be possible to read it in two ways. One that is wrong is
// none: the call is written down before anybody has asked what is wrong.
func (r *Request) readQuery(query string) {
	found := bodyFacts{family: r.Family}
	for pair := range strings.SplitSeq(query, "&") {
		for part := range strings.SplitSeq(pair, ";") {
			name, value, _ := strings.Cut(part, "=")
			if !r.Family.namesModel(name) {
				continue
			}
			model, err := url.QueryUnescape(value)
			if err != nil || len(part) < len(pair) {
				found.fail(badRequest("invalid_model", "the model in the query cannot be read: escape what is special in its name"))
			}
			found.name(model, 0, 0)
		}
	}
	if found.mixed {
		found.fail(badRequest("invalid_model", "the query names more than one model: name the one to use"))
	}
	r.modelInQuery, r.doubt = len(found.named) > 0, found.err
	if found.err == nil {
		r.Model = found.model
	}
}

// namesModel tells whether a parameter of a query names a model. Some servers
// do not care for the case.
func (f *Family) namesModel(parameter string) bool {
	plain, err := url.QueryUnescape(parameter)

	return err == nil && slices.ContainsFunc(f.modelParameters, func(name string) bool { return strings.EqualFold(name, plain) })
}

// placeInQuery exchanges the model that a query names, and leaves all else as it
// stands.
func (f *Family) placeInQuery(query, model string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if name, _, _ := strings.Cut(pair, "="); f.namesModel(name) {
			pairs[i] = name + "=" + url.QueryEscape(model)
		}
	}

	return strings.Join(pairs, "&")
}
