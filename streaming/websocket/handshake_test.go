// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"errors"
	"net/http"
	"slices"
	"testing"
)

func header(fields ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}

	return h
}

func TestWhoAsksForAWebSocket(t *testing.T) {
	for name, test := range map[string]struct {
		method, proto string
		major         int
		header        http.Header
		asked         bool
	}{
		"an upgrade":               {"GET", "HTTP/1.1", 1, header("Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket"), true},
		"options in two fields":    {"GET", "HTTP/1.1", 1, header("Connection", "keep-alive", "Connection", "upgrade", "Upgrade", "websocket"), true},
		"nothing":                  {"GET", "HTTP/1.1", 1, header(), false},
		"no connection option":     {"GET", "HTTP/1.1", 1, header("Upgrade", "websocket"), false},
		"another protocol":         {"GET", "HTTP/1.1", 1, header("Connection", "Upgrade", "Upgrade", "h2c"), false},
		"a choice of protocols":    {"GET", "HTTP/1.1", 1, header("Connection", "Upgrade", "Upgrade", "websocket, h2c"), false},
		"two protocols":            {"GET", "HTTP/1.1", 1, header("Connection", "Upgrade", "Upgrade", "websocket", "Upgrade", "h2c"), false},
		"another method":           {"POST", "HTTP/1.1", 1, header("Connection", "Upgrade", "Upgrade", "websocket"), false},
		"an upgrade over HTTP/2":   {"GET", "HTTP/2.0", 2, header("Connection", "Upgrade", "Upgrade", "websocket"), false},
		"extended CONNECT":         {"CONNECT", "HTTP/2.0", 2, http.Header{":protocol": {"websocket"}}, true},
		"extended CONNECT, HTTP/3": {"CONNECT", "websocket", 3, header(), true},
		"CONNECT":                  {"CONNECT", "HTTP/2.0", 2, header(), false},
		"CONNECT, HTTP/3":          {"CONNECT", "HTTP/3.0", 3, header(), false},
		"CONNECT, HTTP/1.1":        {"CONNECT", "websocket", 1, http.Header{":protocol": {"websocket"}}, false},
		"CONNECT to another":       {"CONNECT", "HTTP/2.0", 2, http.Header{":protocol": {"connect-udp"}}, false},
	} {
		r := &http.Request{Method: test.method, Proto: test.proto, ProtoMajor: test.major, Header: test.header}
		if Asked(r) != test.asked || Extended(r) != (test.asked && test.method == "CONNECT") {
			t.Errorf("%s: asked %v, extended %v", name, Asked(r), Extended(r))
		}
	}
}

func TestHandshakesAreChecked(t *testing.T) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	for name, test := range map[string]struct {
		header http.Header
		want   error
	}{
		"as it should be":   {header(HeaderVersion, "13", HeaderKey, key), nil},
		"with protocols":    {header(HeaderVersion, "13", HeaderKey, " "+key, HeaderProtocol, "realtime, openai-insecure-api-key.a/b+c=", HeaderProtocol, "x"), nil},
		"by the RFC":        {http.Header{"Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {key}}, nil},
		"no version":        {header(HeaderKey, key), ErrVersion},
		"an old version":    {header(HeaderVersion, "8", HeaderKey, key), ErrVersion},
		"two versions":      {header(HeaderVersion, "13", HeaderVersion, "13", HeaderKey, key), ErrVersion},
		"a choice of them":  {header(HeaderVersion, "13, 8", HeaderKey, key), ErrVersion},
		"no key":            {header(HeaderVersion, "13"), errKey},
		"a short key":       {header(HeaderVersion, "13", HeaderKey, "dGhl"), errKey},
		"no base64":         {header(HeaderVersion, "13", HeaderKey, "the sample nonce"), errKey},
		"two keys":          {header(HeaderVersion, "13", HeaderKey, key, HeaderKey, key), errKey},
		"an empty protocol": {header(HeaderVersion, "13", HeaderKey, key, HeaderProtocol, " , "), errProtocol},
		"a broken protocol": {header(HeaderVersion, "13", HeaderKey, key, HeaderProtocol, "real time"), errProtocol},
		"a strange one":     {header(HeaderVersion, "13", HeaderKey, key, HeaderProtocol, "réaltime"), errProtocol},
	} {
		if err := CheckAsked(&http.Request{Method: "GET", ProtoMajor: 1, Header: test.header}); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	extended := &http.Request{Method: "CONNECT", ProtoMajor: 2, Header: http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}}
	if err := CheckAsked(extended); err != nil {
		t.Errorf("extended CONNECT: got %v", err)
	}
}

func TestHandshakeIsAskedForWithoutExtensions(t *testing.T) {
	out := header("Authorization", "Bearer k")
	Ask(out, header(HeaderKey, "a", HeaderVersion, "13", HeaderProtocol, "one, two", HeaderExtensions, "permessage-deflate", "Cookie", "c"))
	want := http.Header{
		"Authorization": {"Bearer k"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-WebSocket-Key": {"a"}, "Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Protocol": {"one, two"},
	}
	if len(out) != len(want) {
		t.Errorf("got %v", out)
	}
	for name, values := range want {
		if !slices.Equal(out[name], values) {
			t.Errorf("%s: got %v", name, out[name])
		}
	}
	again := http.Header{}
	Ask(again, out) // as reverse_proxy spells it
	if !slices.Equal(Protocols(again), []string{"one", "two"}) {
		t.Errorf("protocols %v", Protocols(again))
	}
}

func TestAnswersToAHandshakeAreChecked(t *testing.T) {
	// The example of RFC 6455.
	const key, accepted = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	asked := http.Header{"Sec-WebSocket-Key": {key}, "Sec-WebSocket-Protocol": {"realtime, beta"}}
	good := func(more ...string) http.Header {
		return header(append([]string{"Upgrade", "websocket", "Connection", "Upgrade", HeaderAccept, accepted}, more...)...)
	}
	for name, test := range map[string]struct {
		status int
		header http.Header
		want   error
	}{
		"as it should be":       {101, good(HeaderProtocol, "realtime"), nil},
		"no protocol":           {101, good(), nil},
		"an ordinary answer":    {200, good(), errNotSwitched},
		"another protocol":      {101, header("Upgrade", "h2c", HeaderAccept, accepted), errNotSwitched},
		"no proof":              {101, header("Upgrade", "websocket"), errAccept},
		"another's proof":       {101, header("Upgrade", "websocket", HeaderAccept, accept("other")), errAccept},
		"an extension":          {101, good(HeaderExtensions, "permessage-deflate"), errExtension},
		"an unknown choice":     {101, good(HeaderProtocol, "openai-insecure-api-key.k"), errSubprotocol},
		"more than one choice":  {101, good(HeaderProtocol, "realtime, beta"), errSubprotocol},
		"choice in other words": {101, good(HeaderProtocol, "Realtime"), errSubprotocol},
	} {
		if err := Check(asked, &http.Response{StatusCode: test.status, Header: test.header}); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
