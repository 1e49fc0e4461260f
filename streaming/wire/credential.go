// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
)

// keyHeaders are the headers that SDKs of any family put a bare key in.
var keyHeaders = []string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"}

// foreignHeaders are those that hold a client's key elsewhere. None is taken
// here, and none is a provider's to see.
var foreignHeaders = []string{
	"Ocp-Apim-Subscription-Key", "Apikey", "Token", "X-Access-Token", "X-Auth-Key", "X-Auth-Token", "Helicone-Auth",
}

// accountHeaders name the account that a credential belongs to, or are part of
// a signature. They go with the client's credential and would have ours
// rejected.
var accountHeaders = []string{
	"Openai-Organization", "Openai-Project", "X-Goog-User-Project",
	"X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token",
}

// credentialHeaders are all of these.
var credentialHeaders = slices.Concat(keyHeaders, foreignHeaders, accountHeaders)

// Credentials yields every secret that a client may have sent: a bearer
// token, the key headers of all families, the keys among the subprotocols of a
// WebSocket, and the key in the query. Which one is meant is for the caller to
// find out; none is trusted. u may be nil.
func Credentials(h http.Header, u *url.URL) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, value := range h["Authorization"] {
			if token, ok := bearer(value); ok && !yield(token) {
				return
			}
		}
		for _, name := range keyHeaders {
			for _, value := range h[name] {
				if value = strings.TrimSpace(value); value != "" && !yield(value) {
					return
				}
			}
		}
		for _, protocol := range websocket.Protocols(h) {
			if key, ok := protocolKey(protocol); ok && !yield(key) {
				return
			}
		}
		if u == nil {
			return
		}
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if key, ok := parameterKey(name, value); ok && !yield(key) {
				return
			}
		}
	}
}

// IsCredential tells whether that is a header, as net/http spells it, in which a
// client may have sent a secret, or that says whose it is.
func IsCredential(name string) bool {
	return name == "Authorization" || slices.Contains(credentialHeaders, name)
}

// StripCredentials deletes every header in which a client may have sent a
// secret, and those that say whose it is. See [StripKey] for the query.
func StripCredentials(h http.Header) {
	for name := range h {
		if IsCredential(name) {
			delete(h, name)
		}
	}
	stripProtocols(h)
}

// protocolKeys are what stands before a key among the subprotocols of a
// WebSocket: a browser can put it nowhere else.
var protocolKeys = []string{"openai-insecure-api-key.", "xai-client-secret."}

// protocolKey returns the key that a subprotocol is.
func protocolKey(protocol string) (key string, ok bool) {
	for _, prefix := range protocolKeys {
		if key, ok = strings.CutPrefix(protocol, prefix); ok && key != "" {
			return key, true
		}
	}

	return "", false
}

// protocolAccounts are what stands before the account of such a key.
var protocolAccounts = []string{"openai-organization.", "openai-project."}

// stripProtocols takes keys and their accounts out of the subprotocols, however
// they are spelled. What is left is as it was.
func stripProtocols(h http.Header) {
	all := websocket.Protocols(h)
	if len(all) == 0 {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(all), func(protocol string) bool {
		return slices.ContainsFunc(slices.Concat(protocolKeys, protocolAccounts), func(prefix string) bool {
			return strings.HasPrefix(strings.ToLower(protocol), prefix)
		})
	})
	if len(kept) < len(all) {
		websocket.SetProtocols(h, kept)
	}
}

// StripKey returns u without the key in its query: u itself if there is none.
func StripKey(u *url.URL) *url.URL {
	query := withoutKey(u.RawQuery)
	if query == u.RawQuery {
		return u
	}
	stripped := *u
	stripped.RawQuery = query

	return &stripped
}

// bearer returns the token of an Authorization header.
func bearer(value string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(value), " ")
	token = strings.TrimSpace(token)

	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// parameterKey returns the key that a query parameter holds, as Google has it;
// or as Azure has the credential of a session, for browsers.
func parameterKey(name, value string) (key string, ok bool) {
	name, err := url.QueryUnescape(name)
	if err != nil {
		return "", false
	}
	if value, err = url.QueryUnescape(value); err != nil {
		return "", false
	}
	switch strings.ToLower(name) {
	case "key", "api-key":
		return value, value != ""
	case "authorization":
		return bearer(value)
	}

	return "", false
}

// secretParameters are query parameters in which a client may have sent a
// secret that is not ours to pass on.
var secretParameters = []string{"key", "api_key", "api-key", "apikey", "access_token", "authorization", "oauth_token", "token"}

// isSecretParameter tells whether a query parameter may hold a secret.
func isSecretParameter(name string) bool {
	plain, err := url.QueryUnescape(name)

	return err == nil && slices.Contains(secretParameters, strings.ToLower(plain))
}
