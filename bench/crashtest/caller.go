// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxErrorBody bounds what is kept of an error answer.
const maxErrorBody = 64 << 10

// caller asks the gateway.
type caller struct {
	base, key string
	client    *http.Client
}

// newCaller prepares calls to a gateway; key is what the gateway knows its
// client by. Each call has a connection of its own, so that none suffers from
// how another ended.
func newCaller(base, key string) *caller {
	return &caller{
		base: strings.TrimSuffix(base, "/"), key: key,
		client: &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}},
	}
}

// call asks for a model and reads the answer to its end, or until the bound
// is over.
func (c *caller) call(ctx context.Context, f *family, model string, bound time.Duration) *view {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	v := newView(model)
	err := c.read(ctx, f, v)
	v.end(err, ctx.Err() != nil && parent.Err() == nil)
	return v
}

func (c *caller) read(ctx context.Context, f *family, v *view) error {
	body := encode(f.request(v.Model, "Count up to sixty."))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+f.path(v.Model), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set(f.header, f.prefix+c.key)
	if f == messages {
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	res, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	v.Status, v.Header = res.StatusCode, res.Header
	if res.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
		v.Body = string(text)
		return err
	}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		v.flaw("a content type that is not text/event-stream: " + res.Header.Get("Content-Type"))
	}
	return readEvents(res.Body, func(e event) { v.take(f, e) })
}

// readEvents reads a stream event by event. Lines end in LF or CRLF. What
// stands before a clean end without a blank line counts as an event: several
// providers leave the last blank line out.
func readEvents(r io.Reader, take func(event)) error {
	lines := bufio.NewReader(r)
	var e event
	var data [][]byte
	dispatch := func() {
		if data != nil {
			e.data = string(bytes.Join(data, []byte("\n")))
			take(e)
		}
		e, data = event{}, nil
	}
	for {
		line, err := lines.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case err != nil && err != io.EOF:
			return err
		case len(line) == 0:
			dispatch()
		case string(name) == "event":
			e.name = string(value)
		case string(name) == "data":
			data = append(data, value)
		}
		if err == io.EOF {
			dispatch()
			return nil
		}
	}
}
