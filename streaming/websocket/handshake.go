// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"crypto/sha1" // what RFC 6455 asks for; it protects nothing
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// The header fields of a handshake, as net/http spells them.
const (
	HeaderAccept     = "Sec-Websocket-Accept"
	HeaderExtensions = "Sec-Websocket-Extensions"
	HeaderKey        = "Sec-Websocket-Key"
	HeaderProtocol   = "Sec-Websocket-Protocol"
	HeaderVersion    = "Sec-Websocket-Version"
)

// rfcSpelling is how RFC 6455 spells them. Servers that care for the case of
// header fields want it so.
var rfcSpelling = map[string]string{
	HeaderKey:      "Sec-WebSocket-Key",
	HeaderProtocol: "Sec-WebSocket-Protocol",
	HeaderVersion:  "Sec-WebSocket-Version",
}

// Asked tells whether a client's request asks for a WebSocket: by an upgrade
// over HTTP/1.1, by extended CONNECT (RFC 8441, RFC 9220) over the later ones.
func Asked(r *http.Request) bool {
	if Extended(r) {
		return true
	}
	upgrade := r.Header["Upgrade"]

	return r.ProtoMajor == 1 && r.Method == http.MethodGet && len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") &&
		slices.ContainsFunc(list(r.Header, "Connection"), func(option string) bool { return strings.EqualFold(option, "upgrade") })
}

// Extended tells whether a client asks for a WebSocket by extended CONNECT. The
// request's body is then what the client sends.
func Extended(r *http.Request) bool {
	if r.Method != http.MethodConnect {
		return false
	}
	protocol := r.Proto // where HTTP/3 has it
	if r.ProtoMajor == 2 {
		protocol = r.Header.Get(":protocol")
	}

	return r.ProtoMajor >= 2 && strings.EqualFold(protocol, "websocket")
}

// What is wrong with a client's handshake.
var (
	ErrVersion  = errors.New("the version of the WebSocket protocol must be 13: send 'Sec-WebSocket-Version: 13'")
	errKey      = errors.New("Sec-WebSocket-Key must be there once, with 16 random bytes in base64")
	errProtocol = errors.New("Sec-WebSocket-Protocol must be a list of words with commas between them")
)

// CheckAsked tells what is wrong with a handshake that asks for a WebSocket; nil
// if a server may be asked the same. Over HTTP/2 and HTTP/3 it has no key.
func CheckAsked(r *http.Request) error {
	if versions := values(r.Header, HeaderVersion); len(versions) != 1 || strings.TrimSpace(versions[0]) != "13" {
		return ErrVersion
	}
	if !Extended(r) {
		keys := values(r.Header, HeaderKey)
		if len(keys) != 1 {
			return errKey
		}
		if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != 16 {
			return errKey
		}
	}
	asked := values(r.Header, HeaderProtocol)
	protocols := Protocols(r.Header)
	if len(asked) > 0 && len(protocols) == 0 || slices.ContainsFunc(protocols, func(protocol string) bool {
		return strings.ContainsFunc(protocol, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),;<>@[]{}\`, c) })
	}) {
		return errProtocol
	}

	return nil
}

// Ask puts into the header of a request to a server what a client's handshake
// says, but for the extensions: without them every frame can be read along.
func Ask(out, client http.Header) {
	out["Connection"] = []string{"Upgrade"}
	out["Upgrade"] = []string{"websocket"}
	for name, spelled := range rfcSpelling {
		if values := values(client, name); len(values) > 0 {
			out[spelled] = values
		}
	}
}

// What is wrong with a server's answer to a handshake.
var (
	errNotSwitched = errors.New("the server did not switch to the WebSocket protocol")
	errAccept      = errors.New("the server did not prove that it has understood the WebSocket handshake")
	errExtension   = errors.New("the server wants a WebSocket extension that nobody has offered")
	errSubprotocol = errors.New("the server wants a WebSocket subprotocol that nobody has offered")
)

// Check tells what is wrong with a server's answer to the handshake that was
// asked for with that header; nil if it is as the client will want it.
func Check(asked http.Header, res *http.Response) error {
	if res.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
		return errNotSwitched
	}
	if first(res.Header, HeaderAccept) != accept(first(asked, HeaderKey)) {
		return errAccept
	}
	if len(values(res.Header, HeaderExtensions)) > 0 {
		return errExtension
	}
	chosen := Protocols(res.Header)
	if len(chosen) > 1 || len(chosen) == 1 && !slices.Contains(Protocols(asked), chosen[0]) {
		return errSubprotocol
	}

	return nil
}

// Protocols returns the subprotocols that a header names, in their order.
func Protocols(h http.Header) []string { return list(h, HeaderProtocol) }

// SetProtocols makes a header that names subprotocols name these.
func SetProtocols(h http.Header, protocols []string) {
	for _, name := range []string{HeaderProtocol, rfcSpelling[HeaderProtocol]} {
		if _, there := h[name]; there && len(protocols) > 0 {
			h[name] = []string{strings.Join(protocols, ", ")}
		} else {
			delete(h, name)
		}
	}
}

// guid is what RFC 6455 has a server put behind the client's key.
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// accept returns what a server answers to a client's key.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + guid))

	return base64.StdEncoding.EncodeToString(sum[:])
}

// values returns the values of a field in either spelling.
func values(h http.Header, name string) []string {
	if found := h[name]; len(found) > 0 {
		return found
	}

	return h[rfcSpelling[name]]
}

func first(h http.Header, name string) string {
	if found := values(h, name); len(found) > 0 {
		return strings.TrimSpace(found[0])
	}

	return ""
}

// list returns the elements of a field that is a list.
func list(h http.Header, name string) []string {
	var elements []string
	for _, value := range values(h, name) {
		for element := range strings.SplitSeq(value, ",") {
			if element = strings.TrimSpace(element); element != "" {
				elements = append(elements, element)
			}
		}
	}

	return elements
}
