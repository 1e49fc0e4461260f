// SPDX-License-Identifier: Apache-2.0

// Package wire knows the formats of the API families: what a request asks
// for, where a credential goes, where an answer states its usage, what ends a
// stream, and how an error is read and written.
//
// Families differ mostly in facts, so they are tables: a [Family] is how to
// address a provider, an [Operation] is one of its endpoints, and a [Dialect]
// says where the answers of an operation keep what we want to know.
package wire

import (
	"net/http"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

// Family is one API family: the format that a client's SDK and a provider
// agree on. Families are fixed; see [Lookup].
type Family struct {
	// Name is the family's name in configs and logs, such as "openai".
	Name string

	// recognize tells what an escaped path asks for; ok is false for what is
	// not of this family.
	recognize func(method, path string, h http.Header) (found recognized, ok bool)
	// join puts a path that a client asked for under the escaped path of a
	// base URL, which has no slash at its end.
	join func(base string, hasPath bool, path address) string
	// placeModel returns the path's rest with another model in it. It is nil
	// where the path names no model.
	placeModel func(rest, model string) string
	// modelParameters are what names the model in the query of a session's
	// handshake.
	modelParameters []string
	// bodyPaths says where a JSON body has what interests us.
	bodyPaths *jsonscan.Paths
	// storage is how objects are named that it stores; nil if it stores none.
	storage *storage
	// list is the path of the list of models, which costs nothing but tells
	// whether a key is accepted; the zero value is for families that have none,
	// or that give it to anyone. query is what belongs to it.
	list  address
	query string
	// listing makes the list of models that clients get under the path
	// listingAt below the version; nil where it cannot be made of names alone.
	listing   func(names []string) any
	listingAt string
	// slashes is how many there may be, unescaped, in the name of a model below
	// it.
	slashes int
	// modelPrefix may stand before a model's name in bodies.
	modelPrefix string
	// authorize places a credential.
	authorize func(h http.Header, secret string)
	// signed tells which secrets cannot be placed, for they sign requests. It
	// is nil where there are none.
	signed func(secret string) bool
	// errorBody returns the JSON value that clients expect of an error.
	errorBody func(e Error) any
}

// recognized is what a path tells of a request.
type recognized struct {
	operation *Operation
	// path is the address, divided the way the family means it.
	path   address
	model  string
	stream bool
}

// Operation is one endpoint of a family, or a group of endpoints alike.
type Operation struct {
	// Name is the operation's name in logs, such as "openai.chat".
	Name string
	// Dialect says how the operation's answers are read. Nil means they pass
	// through unread.
	Dialect *Dialect
	// made is how an answer that passes through is read along all the same, for
	// the names of what it has stored. Nil if it stores nothing.
	made *Dialect
	// keeps says whether the answer itself is stored.
	keeps keeping
	// Repeatable says that the request can be sent again when it is unknown
	// whether the provider has acted on it: nothing but an answer comes of it.
	Repeatable bool

	// Session says that the operation is a session over a WebSocket: a request
	// is its handshake, and the answer is messages both ways; see
	// [NewSessionScanner].
	Session bool

	// Standing says that an answer states the usage of other calls so far, as
	// a batch does. Whoever asks again is told it again: it is not this call's.
	Standing bool

	// NoComments says that SDKs take every line of a stream for data, so that a
	// comment would break them.
	NoComments bool

	// Free says that the answers cost nothing, though there is something to
	// read in them.
	Free bool

	// streams says that a request which does not say so is streamed, and
	// streamsByQuery that the query may ask for that.
	streams, streamsByQuery bool
	// speaks says that the answer is a text that is spoken, and draws that it is
	// pictures.
	speaks, draws bool
	// needsBody and needsModel are what a request is refused without. A body
	// that is not needed is also not judged: what can be read of it is.
	needsBody, needsModel bool
}

// Paid tells whether an answer of the operation is paid for, as far as we can
// tell: what passes unread may or may not be.
func (o *Operation) Paid() bool { return o.Dialect != nil && !o.Free && !o.Standing }

// families in the order in which they may claim a path: OpenAI's comes last,
// for it takes everything under /v1.
var families = []*Family{tgi, llama, dashscope, ollama, cohere, vertex, bedrock, azure, gemini, anthropic, openai}

// Lookup returns the family of that name.
func Lookup(name string) (*Family, bool) {
	for _, f := range families {
		if f.Name == name {
			return f, true
		}
	}

	return nil, false
}

// Names returns the names of all families, the most common first.
func Names() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[len(families)-1-i] = f.Name
	}

	return names
}

// Authorize places a provider's credential in a request's header, where the
// family wants it. Other credentials should have been taken out; see
// [StripCredentials].
func (f *Family) Authorize(h http.Header, secret string) { f.authorize(h, secret) }

// KeyHeader returns the header in which the family's SDKs send a key, as it
// stands in a request.
func (f *Family) KeyHeader(key string) string {
	h := http.Header{}
	f.authorize(h, key)
	for name, values := range h {
		if strings.HasSuffix(values[0], key) {
			return name + ": " + values[0]
		}
	}

	return "Authorization: Bearer " + key
}

// AuthorizeBearer places a token that was lent as a bearer, wherever the family
// places keys. An empty one places only what goes along with a credential: for
// a request that is to be signed.
func (f *Family) AuthorizeBearer(h http.Header, token string) {
	f.authorize(h, token)
	h.Del("Authorization")
	for _, name := range keyHeaders {
		h.Del(name)
	}
	if token != "" {
		authorizeBearer(h, token)
	}
}

// NeedsSignature tells whether a secret is one that Authorize leaves alone,
// for it cannot be placed: an AWS access key, "AKIA…:<secret>", with a session
// token behind another colon if it is lent. The request is to be signed with
// it, after all else about it is settled, for the service "bedrock" and the
// region that its host names.
func (f *Family) NeedsSignature(secret string) bool { return f.signed != nil && f.signed(secret) }

// authorizeBearer sends a credential as most providers want it.
func authorizeBearer(h http.Header, secret string) { h.Set("Authorization", "Bearer "+secret) }

// joinPlain puts the client's path under the base as it stands.
func joinPlain(base string, _ bool, path address) string { return base + path.String() }
