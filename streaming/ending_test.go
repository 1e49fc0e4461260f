// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// cutCase is a stream of one API family up to where it is cut.
type cutCase struct {
	api, path, body string
	events          []string
	media           string
}

var cutCases = map[string]cutCase{
	"chat": {
		api: "openai", path: "/v1/chat/completions", body: chatStreamBody,
		events: []string{roleChunk, chunk("one")},
	},
	"responses": {
		api: "openai", path: "/v1/responses", body: `{"model":"gpt-4o","stream":true,"input":"hi"}`,
		events: []string{
			`event: response.created` + "\n" + `data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_7","object":"response","created_at":1700000000,"status":"in_progress","model":"gpt-4o"}}` + "\n\n",
			`event: response.output_text.delta` + "\n" + `data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"one"}` + "\n\n",
		},
	},
	"messages": {
		api: "anthropic", path: "/v1/messages", body: `{"model":"claude","stream":true,"max_tokens":9,"messages":[]}`,
		events: []string{
			"event: message_start\n" + `data: {"type":"message_start","message":{"id":"m","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n",
			"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one"}}` + "\n\n",
		},
	},
	"gemini events": {
		api: "gemini", path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", body: `{"contents":[]}`,
		events: []string{`data: {"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"},"index":0}],"modelVersion":"g"}` + "\r\n\r\n"},
	},
	"gemini array": {
		api: "gemini", path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent", body: `{"contents":[]}`,
		events: []string{`[{"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"},"index":0}],"modelVersion":"g"}`, "\n,\r\n"},
		media:  "application/json",
	},
}

// cut plays a case through a transport and returns what the client got.
func (c cutCase) play(t *testing.T, extra string) (text string, call *Call, err error) {
	t.Helper()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		if c.media != "" {
			w.Header().Set("Content-Type", c.media)
			for _, event := range c.events {
				_, _ = io.WriteString(w, event)
			}
			_ = http.NewResponseController(w).Flush()
		} else {
			stream(w, append(append([]string{}, c.events...), extra)...)
		}
		panic(http.ErrAbortHandler)
	})
	p := pool("p", up.URL, "a-"+t.Name())
	p.API = c.api
	tr := provision(t, &Transport{Providers: []*Provider{p}, Retry: quick})
	res, call := post(t, context.Background(), tr, c.path, c.body)
	read, err := io.ReadAll(res.Body)
	res.Body.Close()
	return string(read), call, err
}

// In every family a stream that breaks ends in the family's own error event,
// behind exactly what the provider sent.
func TestBrokenStreamEndsInTheFamilysError(t *testing.T) {
	for name, c := range cutCases {
		t.Run(name, func(t *testing.T) {
			text, call, err := c.play(t, "")
			if err != nil {
				t.Fatalf("the connection broke: %v", err)
			}
			last, passed := strings.CutPrefix(text, strings.Join(c.events, ""))
			if !passed {
				t.Fatalf("got %q", text)
			}
			if call.Outcome != OutcomeBroken || call.Cause == nil {
				t.Errorf("outcome %s, cause %v", call.Outcome, call.Cause)
			}
			checkErrorEvent(t, name, text, last)
		})
	}
}

func checkErrorEvent(t *testing.T, name, text, last string) {
	t.Helper()
	var event struct {
		Type           string
		SequenceNumber int `json:"sequence_number"`
		Error          struct {
			Type, Message string
			Code          any
		}
		Response struct {
			ID, Status string
			CreatedAt  int `json:"created_at"`
			Error      struct{ Code, Message string }
		}
	}
	_, data, _ := strings.Cut(last, "data: ")
	if name == "gemini array" {
		var elements []json.RawMessage
		if err := json.Unmarshal([]byte(text), &elements); err != nil || len(elements) != 2 {
			t.Fatalf("no array of two elements (%v): %s", err, text)
		}
		data = string(elements[1])
	}
	if err := json.Unmarshal([]byte(data), &event); err != nil {
		t.Fatalf("reading the last event %q: %v", last, err)
	}
	switch name {
	case "responses":
		if r := event.Response; event.Type != "response.failed" || event.SequenceNumber != 5 || r.ID != "resp_7" ||
			r.Status != "failed" || r.CreatedAt != 1700000000 || r.Error.Message == "" {
			t.Errorf("got %s", last)
		}
	case "messages":
		if !strings.HasPrefix(last, "event: error\n") || event.Type != "error" || event.Error.Type != "api_error" {
			t.Errorf("got %s", last)
		}
	default:
		if event.Error.Message == "" || event.Error.Code == nil {
			t.Errorf("got %s", last)
		}
	}
}

// An event that was cut in two is ended, so that it does not mix with ours.
func TestBrokenEventIsEndedBeforeTheError(t *testing.T) {
	text, _, err := cutCases["chat"].play(t, `data: {"choi`)
	if want := `data: {"choi` + "\n\n" + `data: {"error":{`; err != nil || !strings.Contains(text, want) {
		t.Errorf("got %q, %v", text, err)
	}
}

// An array that breaks within an element has no place for an error.
func TestBrokenElementBreaksTheConnection(t *testing.T) {
	c := cutCases["gemini array"]
	c.events = append(c.events[:1:1], "\n,\r\n", `{"candidates":[{"cont`)
	text, call, err := c.play(t, "")
	if err == nil || call.Outcome != OutcomeBroken {
		t.Errorf("got %q, outcome %s", text, call.Outcome)
	}
}

// A stream that is complete ends at once, though its connection stays open.
func TestCompleteStreamEndsThoughTheConnectionStays(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		stream(w, roleChunk, chunk("hello"), finishChunk)
		<-r.Context().Done()
	})
	tr := provision(t, &Transport{Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick})
	status, text, call := chat(t, tr, chatStreamBody)
	if want := roleChunk + chunk("hello") + finishChunk; status != 200 || text != want || call.Outcome != OutcomeOK {
		t.Errorf("got %d %q, outcome %s", status, text, call.Outcome)
	}
}

// A provider that falls silent in the middle of its answer is given up.
func TestIdleTimeoutEndsTheStream(t *testing.T) {
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		stream(w, roleChunk, chunk("hello"))
		<-r.Context().Done()
	})
	tr := provision(t, &Transport{
		Providers: []*Provider{pool("p", up.URL, "a-"+t.Name())}, Retry: quick,
		Timeouts: Timeouts{Idle: caddy.Duration(30 * time.Millisecond)},
	})
	_, text, call := chat(t, tr, chatStreamBody)
	if !strings.Contains(text, `"upstream_timeout"`) || !strings.Contains(text, "timeouts idle") || call.Outcome != OutcomeBroken {
		t.Errorf("got %q, outcome %s", text, call.Outcome)
	}
}
