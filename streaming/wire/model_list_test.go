// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

func TestModelListsHaveTheFamilysShape(t *testing.T) {
	anthropic, google := http.Header{"Anthropic-Version": {"2023-06-01"}}, http.Header{"X-Goog-Api-Key": {"k"}}
	for _, test := range []struct {
		path   string
		header http.Header
		names  []string
		want   string
	}{
		{"/v1/models", nil, []string{"a", "b"}, `{"object":"list","data":[{"id":"a","object":"model","created":0,"owned_by":"gateway"},{"id":"b","object":"model","created":0,"owned_by":"gateway"}]}`},
		{"/v1/models", nil, nil, `{"object":"list","data":[]}`},
		{"/v1beta/openai/models", nil, nil, `{"object":"list","data":[]}`},
		{"/v1/models", anthropic, []string{"a", "b"}, `{"data":[{"type":"model","id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z"},{"type":"model","id":"b","display_name":"b","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,"first_id":"a","last_id":"b"}`},
		{"/v1/models", anthropic, nil, `{"data":[],"has_more":false,"first_id":null,"last_id":null}`},
		{"/v1beta/models", google, []string{"a"}, `{"models":[{"name":"models/a","displayName":"a"}]}`},
		{"/v1/models", google, []string{"a"}, `{"models":[{"name":"models/a","displayName":"a"}]}`},
		{"/api/tags", nil, []string{"a"}, `{"models":[{"name":"a","model":"a","modified_at":"1970-01-01T00:00:00Z","details":{}}]}`},
	} {
		r, err := wire.Recognize("GET", &url.URL{Path: test.path}, test.header)
		if err != nil || !r.AsksForModels("GET") {
			t.Fatalf("%s: no list of models: %v", test.path, err)
		}
		if got := string(r.ModelList(test.names)); got != test.want {
			t.Errorf("%s %v:\n got %s\nwant %s", test.path, test.header, got, test.want)
		}
	}
}

func TestOtherRequestsAskForNoList(t *testing.T) {
	for _, test := range []struct{ method, path string }{
		{"POST", "/v1/models"}, {"DELETE", "/v1/models"}, {"GET", "/v1/models/gpt-4o"}, {"GET", "/v1/files"},
		{"GET", "/openai/models"}, {"GET", "/upload/v1beta/models"}, {"GET", "/api/version"},
	} {
		r, err := wire.Recognize(test.method, &url.URL{Path: test.path}, nil)
		if err == nil && r.AsksForModels(test.method) {
			t.Errorf("%s %s is taken for a list of models", test.method, test.path)
		}
	}
}
