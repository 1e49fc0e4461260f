// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Why a connection failed is said in the log of each attempt and of the call,
// and to no client.
func TestFailedConnectionSaysWhy(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, chatAnswer) })
	plain, encrypted, gone := httptest.NewServer(answer), httptest.NewTLSServer(answer), httptest.NewServer(answer)
	encrypted.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	t.Cleanup(plain.Close)
	t.Cleanup(encrypted.Close)
	gone.Close()
	garbage := rawServer(t, canary+"\r\n\r\n")
	for name, test := range map[string]struct{ base, class, cause string }{
		"nobody there":      {gone.URL, "not_sent", "connection refused"},
		"no such name":      {"http://nowhere.invalid", "not_sent", "no such host"},
		"unknown authority": {encrypted.URL, "not_sent", "certificate: unknown authority"},
		"no TLS":            {strings.Replace(plain.URL, "http:", "https:", 1), "not_sent", "the server speaks no TLS"},
		"no HTTP":           {garbage, "reset", "the server speaks no HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			p := &Provider{Name: "p " + t.Name(), BaseURL: test.base, Keys: []*Key{{Secret: canary}}}
			tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: Retry{Attempts: -1, WaitForKey: -1}})
			tr.logger = zap.New(core)
			_, text, call := chat(t, tr, chatBody)
			failed := logs.FilterMessage("attempt failed").All()
			if len(failed) != 1 {
				t.Fatalf("the log has %d failed attempts", len(failed))
			}
			if said := failed[0].ContextMap(); said["cause"] != test.cause || said["class"] != test.class {
				if name == "no such name" && said["cause"] == "the host's name could not be resolved" {
					t.Log("there is no resolver here that would know")
				} else {
					t.Errorf("the log says %v", said)
				}
			}
			if call.Cause == nil || call.Cause.Error() != failed[0].ContextMap()["cause"] {
				t.Errorf("the call's cause is %v", call.Cause)
			}
			if strings.Contains(text, test.cause) || !strings.Contains(text, "the connection to the provider failed") {
				t.Errorf("the client is told %s", text)
			}
		})
	}
}

// rawServer answers all that comes by these bytes.
func rawServer(t *testing.T, text string) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4<<10))
			_, _ = io.WriteString(conn, text)
			conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// Whatever an error is, what is logged of it is short and tells no key.
func TestCausesAreShortAndTellNoKey(t *testing.T) {
	secret := keypool.NewSecret(canary)
	for want, err := range map[string]error{
		"connection refused":                        reverseproxy.NewDialError(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}),
		"connection reset":                          &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		"no route to the host":                      &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH},
		"no such host":                              &net.DNSError{Err: "no such host", IsNotFound: true, Name: canary},
		"the host's name could not be resolved":     &net.DNSError{Err: "server misbehaving", Name: canary},
		"certificate: for another host":             &tls.CertificateVerificationError{Err: x509.HostnameError{Host: canary, Certificate: new(x509.Certificate)}},
		"certificate: expired, or not valid yet":    &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired, Detail: canary}},
		"certificate: not valid":                    &tls.CertificateVerificationError{Err: errors.New(canary)},
		"the connection was closed":                 fmt.Errorf("reading: %w", io.ErrUnexpectedEOF),
		errIdleTimeout.message:                      errIdleTimeout,
		errReported.Error():                         errReported,
		errRepeats.Error():                          errors.New("bad trailer " + canary),
		strings.Repeat("x", maxCause) + "…":         errors.New(strings.Repeat("x", 10*maxCause)),
		strings.Repeat("x", maxCause-1) + "…":       errors.New(strings.Repeat("x", maxCause-1) + strings.Repeat("é", 9)),
		"the provider closed the session: 1011 bye": ownError("the provider closed the session: 1011 bye"),
	} {
		got := briefly(err, secret)
		if got.Error() != want || !errors.Is(got, err) && want != "certificate: for another host" {
			t.Errorf("of %v: got %q, want %q", err, got, want)
		}
	}
	if briefly(nil, secret) != nil {
		t.Error("a cause of nothing")
	}
}
