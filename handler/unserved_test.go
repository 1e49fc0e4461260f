// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// handOnTo sends a call through a handler in front of another.
func handOnTo(t *testing.T, r *http.Request, next caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	t.Helper()
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	return w, newHandler(t, &Handler{Anonymous: true}).ServeHTTP(w, r, next)
}

// A call that a handler behind us has failed to answer is answered in the
// client's API family, and without the words of the failure.
func TestUnservedCallIsAnswered(t *testing.T) {
	for name, want := range map[string]struct {
		err    error
		status int
	}{
		"an error with a status": {caddyhttp.Error(http.StatusServiceUnavailable, errors.New("dial 10.0.0.7")), http.StatusServiceUnavailable},
		"any error":              {errors.New("dial 10.0.0.7"), http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := handOnTo(t, request("/v1/messages", chat), func(http.ResponseWriter, *http.Request) error { return want.err })
			if err != nil || w.Code != want.status || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %d %v, %v", w.Code, w.Header(), err)
			}
			if text := w.Body.String(); !strings.HasPrefix(text, `{"type":"error","error":{`) || strings.Contains(text, "10.0.0.7") {
				t.Errorf("got %s", text)
			}
		})
	}
}

// Nobody is answered who has gone.
func TestUnservedCallOfAClientThatHasGone(t *testing.T) {
	ctx, leave := context.WithCancel(context.Background())
	w, err := handOnTo(t, request("/v1/messages", chat).WithContext(ctx), func(http.ResponseWriter, *http.Request) error {
		leave()
		return caddyhttp.Error(499, context.Canceled)
	})
	if err == nil || w.Body.Len() > 0 {
		t.Errorf("got %s, %v", w.Body, err)
	}
}
