// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed83435595/caddy-llm-proxy/streaming"
	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// recognize tells what a request asks for. A session over a WebSocket begins
// with a handshake, and a handshake is good for nothing else.
func recognize(r *http.Request) (*wire.Request, *refusal) {
	method, asked := r.Method, websocket.Asked(r)
	if asked {
		method = http.MethodGet
	}
	if method == http.MethodConnect {
		return nil, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "CONNECT is not served here")
	}
	request, err := wire.Recognize(method, r.URL, r.Header)
	switch {
	case err != nil:
		return nil, refuse(http.StatusNotFound, "unknown_path", "no API is known under this path; the OpenAI, Anthropic and Gemini APIs are, such as /v1/chat/completions")
	case request.Operation.Session && !asked:
		return nil, refuse(http.StatusUpgradeRequired, "upgrade_required", "under this path there are sessions over a WebSocket: connect with a WebSocket client")
	case !request.Operation.Session && websocket.Extended(r):
		return nil, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "there are no sessions over a WebSocket under this path")
	}
	if asked && request.Operation.Session {
		if err := websocket.CheckAsked(r); errors.Is(err, websocket.ErrVersion) {
			return nil, refuse(http.StatusUpgradeRequired, "upgrade_required", err.Error())
		} else if err != nil {
			return nil, refuse(http.StatusBadRequest, "invalid_handshake", err.Error())
		}
	}
	return request, nil
}

// otherOrigin tells whether a handshake comes from a browser's page of another
// host. Browsers let any page open a WebSocket, with all by which a user is
// known that is not a key: cookies, a certificate, a place in the network.
func otherOrigin(r *http.Request, request *wire.Request) bool {
	origin := r.Header.Get("Origin")
	if request == nil || !request.Operation.Session || origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

func foreignPage() *refusal {
	return refuse(http.StatusForbidden, "origin_not_allowed", "pages of other hosts may open sessions only with an API key of this gateway")
}

// handOn makes the request ready for what comes behind us. A connection that
// changed to another protocol would be a tunnel to the provider, with our key
// and past all that is asked of a call; so only sessions may.
func handOn(w http.ResponseWriter, r *http.Request, call *streaming.Call) {
	if !call.Request.Operation.Session {
		r.Header.Del("Upgrade")
	} else {
		call.HearUntil = http.NewResponseController(w).SetReadDeadline
	}
	if !websocket.Extended(r) {
		r.Body, r.ContentLength = http.NoBody, 0
	} else if body, _ := caddyhttp.IdleTimeoutsFromContext(r.Context()); body != nil {
		body.Override(math.MaxInt64, 0) // a session may be silent
	}
}
