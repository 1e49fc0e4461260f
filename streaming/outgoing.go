// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed83435595/caddy-llm-proxy/streaming/websocket"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// NominalUpstream stands where reverse_proxy wants an upstream. Nothing is
// ever sent to it, since the providers have addresses of their own; .invalid
// never resolves (RFC 2606), should another transport get to see it.
const NominalUpstream = "llm.invalid:443"

// private are the request headers that never go upstream, because they speak of
// the client, of its network or of the hop to us.
var private = []string{
	"Baggage", "Cdn-Loop", "Content-Length", "Cookie", "Early-Data", "Expect", "Forwarded", "Origin",
	"Referer", "Traceparent", "Tracestate", "True-Client-Ip", "Via",
	"X-Client-Ip", "X-Goog-Iam-Authorization-Token", "X-Http-Method", "X-Http-Method-Override",
	"X-Method-Override", "X-Real-Ip",
}

// privatePrefixes are groups of such headers.
var privatePrefixes = []string{"Cf-", "Sec-", "X-Forwarded-"}

// IsHopByHop tells whether a header field concerns one connection only (RFC
// 9110, 7.6.1), or once did.
func IsHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// StripOptions removes the fields from h of which options, the values of a
// Connection field, say that they concern one connection only.
func StripOptions(h http.Header, options []string) {
	for _, list := range options {
		for option := range strings.SplitSeq(list, ",") {
			h.Del(textproto.TrimString(option))
		}
	}
}

// outgoingHeader returns what of the client's header goes to a provider, with
// the handshake if it asks for a session. The answer is asked for unencoded,
// so that its bytes can be read along while they pass.
func outgoingHeader(in http.Header, session bool) http.Header {
	out := make(http.Header, len(in)+2)
	for name, values := range in {
		if !isWithheld(name) {
			out[name] = values
		}
	}
	StripOptions(out, in["Connection"])
	if session {
		websocket.Ask(out, in)
		wire.StripCredentials(out)
	}
	if _, named := out["User-Agent"]; !named {
		out["User-Agent"] = []string{""} // or net/http says that it is Go's
	}
	out["Accept-Encoding"] = []string{"identity"}
	return out
}

// isWithheld tells whether a request header stays here. The client's credential
// is replaced by ours.
func isWithheld(name string) bool {
	return IsHopByHop(name) || wire.IsCredential(name) || slices.Contains(private, name) ||
		slices.ContainsFunc(privatePrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// dialInfoKey is where Caddy's transports look for the address to dial. They
// do not take it from the URL.
const dialInfoKey = caddy.CtxKey("reverse_proxy.dial_info")

// body returns what is sent to a target, and whether it asks for the usage of
// a stream on our own account.
func (r *rotation) body(to target) (body []byte, asks bool) {
	req := r.call.Request
	model := to.modelFor(req.Model)
	if body = r.prefilled; body == nil {
		body = req.Body(r.call.Body, model)
	}
	if r.plain || !to.provider.asks.takes(model) {
		return body, false
	}
	return req.AskForUsage(body)
}

// outgoing builds the request for one attempt. It has a header of its own, since
// the client's request is logged by others.
func (r *rotation) outgoing(ctx context.Context, to target, with credential, body []byte) (*http.Request, error) {
	req := r.call.Request
	model := to.modelFor(req.Model)
	header := outgoingHeader(r.in.Header, req.Operation.Session)
	with.place(to.provider, header)

	out := new(http.Request).WithContext(context.WithValue(untraced{ctx}, dialInfoKey, to.provider.dial))
	out.Method, out.URL, out.Host, out.Header = r.in.Method, req.URL(to.provider.base, r.in.URL, model), to.provider.base.Host, header
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	if len(body) > 0 {
		out.ContentLength = int64(len(body))
		out.GetBody = r.call.opener(body)
		out.Body, _ = out.GetBody()
	}
	if err := with.sign(out, body); err != nil {
		return nil, err
	}
	return out, nil
}

// untraced is a context without the trace by which reverse_proxy passes a
// provider's informational answers, such as 103, on to the client: also those
// of attempts that fail, and with headers that nobody has looked at.
type untraced struct{ context.Context }

// Value returns what the context holds, unless it is a trace.
func (c untraced) Value(key any) any {
	value := c.Context.Value(key)
	if _, isTrace := value.(*httptrace.ClientTrace); isTrace {
		return nil
	}
	return value
}

// unwelcome are the answer headers that are about the provider's own host, its
// cookies, or our account there: they would mislead a client of ours.
var unwelcome = []string{
	"Alt-Svc", "Anthropic-Organization-Id", "Nel", "Openai-Organization", "Openai-Project", "Report-To", "Set-Cookie",
	"Strict-Transport-Security",
}

func cleanAnswerHeader(h http.Header) {
	for _, name := range unwelcome {
		delete(h, name)
	}
	wire.DropOddWaits(h, time.Now())
}
