// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// verify checks the signature of a request as AWS would: by what has arrived,
// following its description of Signature Version 4, without its library. The
// age of a signature is not judged. It returns the scope: date, region and
// service.
func verify(r *http.Request, body []byte, secretOf func(accessKeyID string) string) (scope string, err error) {
	fields := map[string]string{}
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "", fmt.Errorf("not signed: %q", r.Header.Get("Authorization"))
	}
	for field := range strings.SplitSeq(auth, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	accessKeyID, scope, _ := strings.Cut(fields["Credential"], "/")
	names := strings.Split(fields["SignedHeaders"], ";")
	if !slices.IsSorted(names) || !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") {
		return "", fmt.Errorf("signed headers: %v", names)
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") && !slices.Contains(names, strings.ToLower(name)) {
			return "", fmt.Errorf("%s is not signed", name)
		}
	}

	path, query, _ := strings.Cut(r.RequestURI, "?")
	canonical := r.Method + "\n" + escape(path, true) + "\n" + canonicalQuery(query) + "\n"
	for _, name := range names {
		value := r.Host
		if name != "host" {
			value = strings.Join(r.Header.Values(name), ",")
		}
		canonical += name + ":" + strings.Join(strings.Fields(value), " ") + "\n"
	}
	canonical += "\n" + fields["SignedHeaders"] + "\n" + hash(body)

	parts := strings.Split(scope, "/")
	if len(parts) != 4 || parts[3] != "aws4_request" {
		return "", fmt.Errorf("scope: %s", scope)
	}
	key := []byte("AWS4" + secretOf(accessKeyID))
	for _, part := range parts {
		key = mac(key, part)
	}
	toSign := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hash([]byte(canonical))
	if hex.EncodeToString(mac(key, toSign)) != fields["Signature"] {
		return "", errors.New("the signature does not match the request")
	}
	return scope, nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// escape escapes all but what RFC 3986 leaves alone; a path keeps its slashes.
func escape(text string, isPath bool) string {
	var out strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && isPath:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		value, _ = url.QueryUnescape(value)
		pairs = append(pairs, escape(name, false)+"="+escape(value, false))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// The verifier itself holds for the examples that AWS has published.
func TestVerifierAgreesWithPublishedExamples(t *testing.T) {
	const key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	for _, example := range []struct{ method, target, contentType, body, headers, signature string }{
		{"GET", "/", "", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"GET", "/?Param2=value2&Param1=value1", "", "", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"POST", "/", "application/x-www-form-urlencoded", "Param1=value1", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	} {
		r := httptest.NewRequest(example.method, example.target, nil)
		r.Host = "example.amazonaws.com"
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		if example.contentType != "" {
			r.Header.Set("Content-Type", example.contentType)
		}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="+
			example.headers+", Signature="+example.signature)
		if _, err := verify(r, []byte(example.body), func(string) string { return key }); err != nil {
			t.Errorf("%s %s: %v", example.method, example.target, err)
		}
		if _, err := verify(r, []byte(example.body+" "), func(string) string { return key }); err == nil {
			t.Errorf("%s %s: the verifier accepts another body", example.method, example.target)
		}
	}
}

// service is a service of AWS for tests: it refuses what is not signed well.
type service struct {
	*httptest.Server
	requests chan signed
}

// signed is a request that has been verified.
type signed struct {
	uri, host, scope, token string
	header                  http.Header
	body                    []byte
}

// newService starts a service that knows these access keys and their secrets,
// and answers by a function.
func newService(t *testing.T, keys map[string]string, answer http.HandlerFunc) *service {
	t.Helper()
	s := &service{requests: make(chan signed, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		scope, err := verify(r, body, func(id string) string { return keys[id] })
		if at, parseErr := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); err == nil && (parseErr != nil || time.Since(at).Abs() > time.Minute) {
			err = fmt.Errorf("signed at %s", r.Header.Get("X-Amz-Date"))
		}
		if err != nil {
			t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			w.Header().Set("X-Amzn-Errortype", "InvalidSignatureException")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.requests <- signed{r.RequestURI, r.Host, scope, r.Header.Get("X-Amz-Security-Token"), r.Header, body}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}
