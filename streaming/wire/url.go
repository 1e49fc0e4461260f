// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/url"
	"slices"
	"strings"
)

// URL returns where to send the request at a provider with that base URL,
// asking for model. in is the client's URL: its query is kept as it stands,
// but for the client's key, and the model if it stands there. The path is the one that [Recognize] has checked.
func (r *Request) URL(base *url.URL, in *url.URL, model string) *url.URL {
	path := r.path
	if model != r.Model && r.modelInPath {
		path.rest = r.placeInPath(model)
	}

	query := withoutKey(in.RawQuery)
	if model != r.Model && r.modelInQuery {
		query = r.Family.placeInQuery(query, model)
	}

	return r.Family.at(base, path, query)
}

// ProbeURL returns where at a provider with that base URL a GET costs nothing,
// but tells whether a key is accepted: its list of models, or what is said of
// one of them. It is nil where there is no such place.
func (f *Family) ProbeURL(base *url.URL, model string) *url.URL {
	if f.list == (address{}) {
		return nil
	}
	path := f.list
	if model != "" {
		path.rest += "/" + url.PathEscape(model)
	}

	return f.at(base, path, f.query)
}

// rootPath is the path of a base URL that is meant to be the root, where none at
// all is taken for /v1.
const rootPath = "/."

// at puts a path under a base URL. A slash alone is no path: it often stands
// there unmeant.
func (f *Family) at(base *url.URL, path address, query string) *url.URL {
	under := strings.TrimRight(base.EscapedPath(), "/")
	escaped := f.join(strings.TrimSuffix(under, rootPath), under != "", path)
	out := *base
	out.RawPath = escaped
	// What the path is made of has been unescaped before.
	out.Path, _ = url.PathUnescape(escaped)
	out.RawQuery = joinQueries(base.RawQuery, query)
	out.ForceQuery, out.Fragment, out.RawFragment = false, "", ""

	return &out
}

// joinVersioned puts the client's path, version and all, under the base. A
// base that ends in a version of its own decides which version is asked for.
func joinVersioned(base string, _ bool, path address) string {
	if last := strings.LastIndexByte(base, '/'); last >= 0 && isVersion(base[last:]) {
		if path.version != "" {
			path.version = base[last:]
		}
		base = base[:last]
	}

	return base + path.String()
}

// withoutKey drops the parameters that hold secrets from a raw query and leaves all else as
// it stands, in its order.
func withoutKey(query string) string {
	if query == "" {
		return query
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		// Some servers divide at semicolons, too.
		if !slices.ContainsFunc(strings.Split(pair, ";"), func(part string) bool {
			name, _, _ := strings.Cut(part, "=")
			return isSecretParameter(name)
		}) {
			kept = append(kept, pair)
		}
	}

	return strings.Join(kept, "&")
}

func joinQueries(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}

	return a + "&" + b
}
