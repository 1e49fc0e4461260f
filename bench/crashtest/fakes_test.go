// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a small gateway to try the exam on; it forwards a request to the
// provider.
type fake func(p *provider) http.Handler

// sit holds some of the exam with a fake gateway.
func sit(t *testing.T, make fake, of []*family, numbers ...int) *report {
	t.Helper()
	if testing.Short() {
		t.Skip("holding the exam takes seconds")
	}
	t.Parallel()
	p, err := newProvider("127.0.0.1:0", fast)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	server := httptest.NewServer(make(p))
	t.Cleanup(server.Close)
	chosen := scenarios
	if len(numbers) > 0 {
		chosen = nil
		for _, n := range numbers {
			chosen = append(chosen, scenarios[n-1])
		}
	}
	return &report{families: of, Results: exam(context.Background(), chosen, of, newCaller(server.URL, "key"), p)}
}

// lone makes a connection for each request, so that none suffers from how
// another ended.
var lone = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

// forward sends a request to the provider, for a model of a role.
func forward(ctx context.Context, p *provider, r *http.Request, body []byte, role string) (*http.Response, error) {
	as := func(text string) string { return strings.ReplaceAll(text, "-"+primary, "-"+role) }
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+p.addr+as(r.URL.RequestURI()), strings.NewReader(as(string(body))))
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	return (&http.Client{Transport: lone}).Do(req)
}

// transparent passes everything on as it is.
func transparent(p *provider) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: p.addr})
	proxy.Transport = lone
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	return proxy
}

// lying ends every stream politely, however it ended; and if it is told to,
// with the marks of success.
func lying(invented string) fake {
	return func(p *provider) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			res, err := forward(r.Context(), p, r, body, primary)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer res.Body.Close()
			w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
			w.WriteHeader(res.StatusCode)
			_, _ = io.Copy(w, res.Body)
			_, _ = io.WriteString(w, invented)
		})
	}
}

// stubborn asks the primary until it answers well.
func stubborn(p *provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for r.Context().Err() == nil {
			res, err := forward(r.Context(), p, r, body, primary)
			if err != nil {
				continue
			}
			if res.StatusCode == http.StatusOK {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.Copy(w, res.Body)
				res.Body.Close()
				return
			}
			res.Body.Close()
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// tactless goes on with a broken stream by assistant prefill, and shows the
// caller whatever comes of it.
func tactless(p *provider) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		res, err := forward(r.Context(), p, r, body, primary)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.Copy(w, res.Body)
		res.Body.Close()
		sent := strings.Join(pieces[:cutAt], "")
		held := encode(object{"role": "assistant", "content": sent})
		res, err = forward(r.Context(), p, r, bytes.Replace(body, []byte(`}],"model"`), []byte("},"+held+`],"model"`), 1), fallback)
		if err != nil {
			return
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			_, _ = io.WriteString(w, "data: ")
		}
		_, _ = io.Copy(w, res.Body)
		_, _ = io.WriteString(w, "\n\n")
	})
}

// careful does all that the exam asks, by holding every stream back until it
// is whole: the price is that nothing streams.
type careful struct {
	p    *provider
	mu   sync.Mutex
	open map[string]time.Time
}

func newCareful(p *provider) http.Handler { return &careful{p: p, open: map[string]time.Time{}} }

var errIncomplete = errors.New("the stream is not whole")

func (c *careful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id := r.URL.Path + string(body)
	wait := time.Duration(0)
	for try := 0; try < 3 && !c.resting(id); try++ {
		if err := c.attempt(w, r, body, primary, &wait); err == nil {
			return
		} else if errors.Is(err, errIncomplete) || errors.Is(err, context.Canceled) {
			break // a silent or broken route is not asked again
		}
		if wait > 0 {
			time.Sleep(wait)
		} else if c.rests(id) {
			break // that was a probe
		}
	}
	c.rest(id)
	if c.attempt(w, r, body, fallback, &wait) != nil {
		w.WriteHeader(http.StatusBadGateway)
	}
}

func (c *careful) resting(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.open[id])
}

func (c *careful) rests(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.open[id]
	return ok
}

func (c *careful) rest(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !time.Now().Before(c.open[id]) {
		c.open[id] = time.Now().Add(c.p.pace.of(9 * time.Second))
	}
}

// attempt answers the client if the provider answers whole or refuses for the
// client's fault.
func (c *careful) attempt(w http.ResponseWriter, r *http.Request, body []byte, role string, wait *time.Duration) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	idle := time.AfterFunc(c.p.pace.of(8*time.Second), cancel)
	defer idle.Stop()
	res, err := forward(ctx, c.p, r, body, role)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var held bytes.Buffer
	for {
		part := make([]byte, 4096)
		n, err := res.Body.Read(part)
		held.Write(part[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return errIncomplete
		}
		idle.Reset(c.p.pace.of(10 * time.Second))
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 {
		seconds, _ := strconv.ParseFloat(res.Header.Get("Retry-After"), 64)
		*wait = time.Duration(seconds * float64(time.Second))
		return fmt.Errorf("status %d", res.StatusCode)
	}
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(held.Bytes())
	return nil
}
