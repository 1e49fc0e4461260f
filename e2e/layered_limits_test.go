// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

const layered = head + `http://127.0.0.1:GATEWAY {
	llm_proxy {
		rate_limit ip 3 1m
		rate_limit global 5 1m
		client app CLIENT
		provider openai http://127.0.0.1:SIM {
			key sim-good
		}
		provider anthropic http://127.0.0.1:SIM {
			key sim-good
		}
		provider gemini http://127.0.0.1:SIM {
			key sim-good
		}
	}
}
http://127.0.0.1:SIM {
	llm_simulator {
		key sim-good
	}
}
`

// from returns a client that calls from a loopback address.
func from(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// call makes a call from an address with a key and returns the answer.
func (g *gateway) call(t *testing.T, address, key, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	res, err := insist(from(address), func() *http.Request {
		req := g.newRequest(t, "POST", path, body)
		req.Header.Set("Authorization", "Bearer "+key)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return req
	})
	if err != nil {
		t.Fatal(err)
	}
	_, text := readAll(t, res)
	return res, text
}

// Each layer refuses in its turn: the address before the whole, and both
// before a key is looked at. What they say is JSON in the family's shape and
// the client's language.
func TestLayersRefuseInOrder(t *testing.T) {
	g := start(t, layered)
	for i := range 3 {
		if res, text := g.call(t, "127.0.0.2", clientKey, "/v1/chat/completions", chatBody); res.StatusCode != 200 {
			t.Fatalf("call %d: %d %s", i+1, res.StatusCode, text)
		}
	}
	// The address has used up its share. A wrong key is not even looked at.
	for _, key := range []string{clientKey, "wrong"} {
		checkLimited(t, g, "127.0.0.2", key, "rate_limit_exceeded", "too many requests from this address", "IP请求频率超限，请稍后重试")
	}
	// Other addresses go on until the whole is full. Those that authentication
	// refuses count as well.
	for range 2 {
		if res, text := g.call(t, "127.0.0.3", "wrong", "/v1/chat/completions", chatBody); res.StatusCode != 401 {
			t.Fatalf("got %d %s", res.StatusCode, text)
		}
	}
	checkLimited(t, g, "127.0.1.%d", "wrong", "service_busy", "the service is busy", "服务繁忙，请稍后重试")
	checkLimited(t, g, "127.0.0.2", "wrong", "rate_limit_exceeded", "too many requests from this address", "IP请求频率超限，请稍后重试")
	if asked := g.asked(t); asked[fingerprint("sim-good")] != 3 {
		t.Errorf("the provider was asked %v", asked)
	}
}

// checkLimited checks what a refused call is told, by family and language. An
// address with a verb in it is another one for each call.
func checkLimited(t *testing.T, g *gateway, address, key, code, english, chinese string) {
	t.Helper()
	calls := 0
	for path, find := range map[string]func(object map[string]any) (code any, wait float64){
		"/v1/chat/completions": func(e map[string]any) (any, float64) { n, _ := e["retry_after"].(float64); return e["code"], n },
		"/v1/messages":         func(e map[string]any) (any, float64) { n, _ := e["retry_after"].(float64); return e["code"], n },
		"/v1beta/models/g:generateContent": func(e map[string]any) (any, float64) {
			details := e["details"].([]any)
			seconds, _ := time.ParseDuration(details[1].(map[string]any)["retryDelay"].(string))
			return details[0].(map[string]any)["reason"], seconds.Seconds()
		},
	} {
		for language, message := range map[string]string{"": english, "zh-CN,zh;q=0.9": chinese} {
			source := address
			if strings.Contains(address, "%d") {
				calls++
				source = fmt.Sprintf(address, calls)
			}
			res, text := g.call(t, source, key, path, chatBody, "Accept-Language", language)
			var body struct{ Error map[string]any }
			if err := json.Unmarshal([]byte(text), &body); err != nil || res.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s: got %d %s", path, res.StatusCode, text)
				continue
			}
			stated, wait := find(body.Error)
			if stated != code || body.Error["message"] != message {
				t.Errorf("%s: got %s, want %s and %q", path, text, code, message)
			}
			if after, _ := strconv.Atoi(res.Header.Get("Retry-After")); after < 1 || after > 60 || float64(after) != wait {
				t.Errorf("%s: Retry-After %d, in the body %v", path, after, wait)
			}
		}
	}
}

// With many addresses and clients each layer refuses what is its own, before
// those behind it are asked: the address, all together, wrong keys, the client.
// What is refused reaches no provider.
func TestEveryLayerInItsTurn(t *testing.T) {
	const (
		ofAddress, ofAll, wrongKeys, ofClient = 10, 120, 3, 5
		otherKey                              = "clp-other-client"
	)
	g := start(t, strings.NewReplacer(
		"rate_limit ip 3 1m", fmt.Sprintf("rate_limit ip %d 1m", ofAddress),
		"rate_limit global 5 1m", fmt.Sprintf("rate_limit global %d 1m", ofAll),
		"client app CLIENT", fmt.Sprintf("auth_failures %d 1m\nrate_limit user requests %d 1h\nclient app CLIENT\nclient other %s", wrongKeys, ofClient, hash(otherKey)),
	).Replace(layered))
	asked, served := 0, 0
	// expect calls from an address; an empty code is an answer of the provider.
	expect := func(address, key, code string) {
		t.Helper()
		asked++
		res, text := g.call(t, address, key, "/v1/chat/completions", chatBody)
		want := map[string]int{"": 200, "invalid_api_key": 401}[code]
		if want == 0 {
			want = http.StatusTooManyRequests
		}
		if res.StatusCode != want || code != "" && !strings.Contains(text, `"code":"`+code+`"`) {
			t.Fatalf("request %d, from %s: got %d %s, want %s", asked, address, res.StatusCode, text, code)
		}
		if code == "" {
			served++
		}
	}
	// The client's own limit comes last: other clients go on, from the same
	// address too.
	for i := range ofClient {
		expect(fmt.Sprintf("127.0.2.%d", i+1), clientKey, "")
	}
	expect("127.0.2.1", clientKey, "user_quota_exceeded")
	expect("127.0.2.1", otherKey, "")
	// Whoever brings wrong keys from one address is not let in there with a
	// right one either, but elsewhere.
	for range wrongKeys {
		expect("127.0.3.1", "wrong", "invalid_api_key")
	}
	expect("127.0.3.1", otherKey, "rate_limit_exceeded")
	expect("127.0.3.2", otherKey, "")
	// An address that has used up its share is refused whoever it is: also one
	// whose own limit is met, which would say something else.
	for range ofAddress {
		expect("127.0.4.1", clientKey, "user_quota_exceeded")
	}
	for _, key := range []string{clientKey, otherKey, "wrong"} {
		expect("127.0.4.1", key, "rate_limit_exceeded")
	}
	// The rest of what all have together is used up by many addresses. What an
	// address was refused does not count there.
	for n := asked - 3; n < ofAll; n++ {
		expect(fmt.Sprintf("127.0.5.%d", n), clientKey, "user_quota_exceeded")
	}
	for i, key := range []string{clientKey, otherKey, "wrong"} {
		expect(fmt.Sprintf("127.0.6.%d", i), key, "service_busy")
	}
	expect("127.0.4.1", otherKey, "rate_limit_exceeded")
	if got := g.asked(t)[fingerprint("sim-good")]; got != served {
		t.Errorf("the provider was asked %d times for %d answers", got, served)
	}
}

// A flood is refused on its headers: the body need not even come.
func TestLimitedBeforeTheBody(t *testing.T) {
	g := start(t, layered)
	for range 3 {
		g.call(t, "127.0.0.1", "wrong", "/v1/chat/completions", chatBody)
	}
	conn, err := net.Dial("tcp", g.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n", conn.RemoteAddr(), clientKey)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d", res.StatusCode)
	}
}

// A client cannot choose its address: X-Forwarded-For counts only from
// proxies that Caddy trusts.
func TestForgedAddressIsNotBelieved(t *testing.T) {
	g := start(t, layered)
	for i := range 3 {
		g.call(t, "127.0.0.2", clientKey, "/v1/chat/completions", chatBody, "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
	}
	res, text := g.call(t, "127.0.0.2", clientKey, "/v1/chat/completions", chatBody, "X-Forwarded-For", "203.0.113.9", "Forwarded", "for=203.0.113.9")
	if res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
}

// Refusals don't cost a client its connection, nor the next request on it.
func TestRefusalsKeepTheConnection(t *testing.T) {
	g := start(t, strings.NewReplacer("rate_limit ip 3 1m", "rate_limit ip 300 1m", "rate_limit global 5 1m", "").Replace(layered))
	connections := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		connections++
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	for i := range 400 {
		req := g.newRequest(t, "POST", "/v1/chat/completions", chatBody)
		req.Header.Set("Authorization", "Bearer wrong")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		want := 401
		if i >= 300 {
			want = 429
		}
		if status, text := readAll(t, res); status != want {
			t.Fatalf("call %d: %d %s", i+1, status, text)
		}
	}
	if connections != 1 || strings.Contains(g.Output(), "panic") {
		t.Errorf("%d connections were needed", connections)
	}
}
