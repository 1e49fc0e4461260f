// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// sign returns what signs requests with these keys. The signature covers the
// method, the address, the body, the content type and what is AWS's own among
// the headers: nothing that is changed on the way as a rule.
func (s *Source) sign(keys aws.Credentials) func(req *http.Request, body []byte) error {
	return func(req *http.Request, body []byte) error {
		at := *req.URL
		covered := &http.Request{Method: req.Method, URL: &at, Host: req.Host, Header: http.Header{}}
		for name, values := range req.Header {
			if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") {
				covered.Header[name] = values
			}
		}
		hash := sha256.Sum256(body)
		err := s.signer.SignHTTP(req.Context(), keys, covered, hex.EncodeToString(hash[:]), s.service, s.region, time.Now())
		if err != nil {
			return err
		}
		for name, values := range covered.Header {
			req.Header[name] = values
		}
		// The query is sent in the order in which it was signed.
		req.URL, req.Host = covered.URL, covered.Host
		return nil
	}
}

// What Bedrock's endpoints are called in signatures.
const (
	bedrock = "bedrock"
	mantle  = "bedrock-mantle"
)

// readHost finds what a host of AWS says of itself: bedrock-runtime.eu-west-1.
// amazonaws.com names its region behind the service. There is no region for
// any other host.
func readHost(host string) (service, region string) {
	host = strings.ToLower(host)
	for _, end := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		inside, ok := strings.CutSuffix(host, end)
		if !ok {
			continue
		}
		labels := strings.Split(strings.TrimSuffix(inside, ".vpce"), ".")
		for i, label := range labels[:len(labels)-1] {
			switch {
			case strings.HasPrefix(label, mantle):
				return mantle, labels[i+1]
			case strings.HasPrefix(label, bedrock):
				return bedrock, labels[i+1]
			}
		}
	}
	return bedrock, ""
}
