// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// What a request refers to is named by its path or its body.
func TestStoredObjectsAreFoundInRequests(t *testing.T) {
	anthropic := http.Header{"Anthropic-Version": {"2023-06-01"}}
	for _, test := range []struct {
		method, path string
		header       http.Header
		body         string
		want         string
	}{
		{"GET", "/v1/responses/resp_1", nil, ``, "resp_1"},
		{"GET", "/v1/responses/resp_1/input_items?limit=3", nil, ``, "resp_1"},
		{"POST", "/v1/responses/resp_1/cancel", nil, ``, "resp_1"},
		{"POST", "/v1/responses/input_tokens", nil, `{"previous_response_id":"resp_1"}`, "resp_1"},
		{"POST", "/v1/responses/compact", nil, `{"model":"m"}`, ""},
		{"POST", "/v1/responses", nil, `{"model":"m","previous_response_id":"resp_2","input":"hi"}`, "resp_2"},
		{"POST", "/v1/responses", nil, `{"model":"m","previous_response_id":null,"conversation":"conv_1"}`, "conv_1"},
		{"POST", "/v1/responses", nil, `{"model":"m","conversation":{"id":"conv_1"}}`, "conv_1"},
		{"POST", "/v1/responses", nil, `{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"},{"type":"input_text","text":"previous_response_id"}]}]}`, "file-1"},
		{"POST", "/v1/responses", nil, `{"model":"m","tools":[{"type":"file_search","vector_store_ids":["vs_1","vs_2"]},{"type":"code_interpreter","container":"cntr_1"},{"container":{"type":"auto","file_ids":["file-2"]}}]}`, "vs_1 vs_2 cntr_1 file-2"},
		{"POST", "/v1/responses", nil, `{"model":"m","metadata":{"previous_response_id":"x"},"tools":[{"parameters":{"file_id":"y"}}]}`, ""},
		{"POST", "/v1/responses", nil, `{"model":"m","previous_response_id":"` + strings.Repeat("x", 300) + `"}`, ""},
		{"POST", "/v1/chat/completions", nil, `{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}`, "file-1"},
		{"GET", "/v1/chat/completions/chatcmpl-1/messages", nil, ``, "chatcmpl-1"},
		{"GET", "/v1/chat/completions", nil, ``, ""},
		{"GET", "/v1/files/file-1/content", nil, ``, "file-1"},
		{"GET", "/v1/files", nil, ``, ""},
		{"DELETE", "/v1/files/file%2D1", nil, ``, "file-1"},
		{"POST", "/v1/batches", nil, `{"input_file_id":"file-1","endpoint":"/v1/responses"}`, "file-1"},
		{"POST", "/v1/batches/batch_1/cancel", nil, ``, "batch_1"},
		{"POST", "/v1/threads/runs", nil, `{"assistant_id":"asst_1"}`, "asst_1"},
		{"POST", "/v1/threads/thread_1/runs", nil, `{"assistant_id":"asst_1"}`, "thread_1 asst_1"},
		{"POST", "/v1/fine_tuning/jobs", nil, `{"model":"m","training_file":"file-1"}`, "file-1"},
		{"GET", "/v1/fine_tuning/jobs/ftjob-1/events", nil, ``, "ftjob-1"},
		{"GET", "/v1/models/gpt-4o", nil, ``, ""},
		{"GET", "/v1/organization/projects/proj_1", nil, ``, ""},
		{"GET", "/openai/v1/files/file-1", nil, ``, "file-1"},
		{"GET", "/openai/batches/batch_1?api-version=2024-10-21", nil, ``, "batch_1"},
		{"POST", "/openai/deployments/d/chat/completions", nil, `{"messages":[]}`, ""},

		{"GET", "/v1/messages/batches/msgbatch_1/results", nil, ``, "msgbatch_1"},
		{"GET", "/v1/files/file_1", anthropic, ``, "file_1"},
		{"POST", "/v1/messages", nil, `{"model":"m","container":"container_1","messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}},{"type":"container_upload","file_id":"file_2"}]}]}`, "container_1 file_1 file_2"},
		{"POST", "/v1/messages", nil, `{"model":"m","container":{"id":"container_1","skills":[]},"messages":[]}`, "container_1"},

		{"GET", "/v1beta/files/abc", nil, ``, "files/abc"},
		{"GET", "/v1beta/cachedContents/c1", nil, ``, "cachedContents/c1"},
		{"POST", "/v1beta/batches/b1:cancel", nil, ``, "batches/b1"},
		{"GET", "/v1beta/models/veo-3/operations/op1", nil, ``, "operations/op1"},
		{"POST", "/v1beta/tunedModels/mine:generateContent", nil, `{}`, "tunedModels/mine"},
		{"POST", "/v1beta/models/m:generateContent", nil, `{"cachedContent":"cachedContents/c1","contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc"}}]}]}`, "cachedContents/c1 files/abc"},
		{"POST", "/v1beta/models/m:generateContent", nil, `{"contents":[{"parts":[{"file_data":{"file_uri":"https://www.youtube.com/files/abc"}},{"fileData":{"fileUri":"gs://bucket/files/x"}}]}]}`, ""},
		{"POST", "/v1beta/interactions", nil, `{"model":"m","previous_interaction_id":"i1"}`, "interactions/i1"},
		{"GET", "/v1beta/interactions/i1", nil, ``, "interactions/i1"},
		{"POST", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", nil, `{"cachedContent":"projects/p/locations/l/cachedContents/c1"}`, "cachedContents/c1"},
		{"GET", "/v1/projects/p/locations/l/cachedContents/c1", nil, ``, "cachedContents/c1"},

		{"GET", "/api/v1/tasks/t1", nil, ``, "t1"},
		{"POST", "/v2/chat", nil, `{"model":"m","messages":[]}`, ""},
	} {
		header := test.header
		if header == nil {
			header = http.Header{}
		}
		r, err := wire.Recognize(test.method, parseURL(t, test.path), header)
		if err != nil {
			t.Errorf("%s %s: %v", test.method, test.path, err)
			continue
		}
		if err := r.ReadBody("application/json", []byte(test.body)); err != nil {
			t.Errorf("%s %s: %v", test.method, test.path, err)
		}
		if got := strings.Join(r.Objects, " "); got != test.want {
			t.Errorf("%s %s %s: got %q, want %q", test.method, test.path, test.body, got, test.want)
		}
	}
}

// What an answer has stored is known by its name.
func TestStoredObjectsAreFoundInAnswers(t *testing.T) {
	const sse = "text/event-stream"
	anthropic := http.Header{"Anthropic-Version": {"2023-06-01"}}
	for name, test := range map[string]struct {
		method, path string
		header       http.Header
		body         string
		media        string
		answer       string
		want         string
	}{
		"a response":                    {"POST", "/v1/responses", nil, `{"model":"m"}`, "", `{"id":"resp_1","object":"response","status":"completed","output":[]}`, "resp_1"},
		"a response that is not stored": {"POST", "/v1/responses", nil, `{"model":"m","store":false}`, "", `{"id":"resp_1","object":"response","status":"completed"}`, ""},
		"a streamed response": {
			"POST", "/v1/responses", nil, `{"model":"m","stream":true}`, sse,
			"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n", "resp_1",
		},
		"a container": {
			"POST", "/v1/responses", nil, `{"model":"m","store":false}`, "",
			`{"id":"resp_1","output":[{"type":"code_interpreter_call","container_id":"cntr_1"}]}`, "cntr_1",
		},
		"a chat":                {"POST", "/v1/chat/completions", nil, `{"model":"m"}`, "", `{"id":"chatcmpl-1","choices":[]}`, ""},
		"a chat that is stored": {"POST", "/v1/chat/completions", nil, `{"model":"m","store":true}`, "", `{"id":"chatcmpl-1","choices":[]}`, "chatcmpl-1"},
		"a file":                {"POST", "/v1/files", nil, `{}`, "", `{"id":"file-1","object":"file","filename":"x"}`, "file-1"},
		"a list of files":       {"GET", "/v1/files", nil, ``, "", `{"data":[{"id":"file-1"}]}`, ""},
		"the content of a file": {"GET", "/v1/files/file-1/content", nil, ``, "application/json", `{"id":"other"}`, ""},
		"a batch":               {"POST", "/v1/batches", nil, `{"input_file_id":"file-1"}`, "", `{"id":"batch_1","output_file_id":null}`, "batch_1"},
		"a batch that is done":  {"GET", "/v1/batches/batch_1", nil, ``, "", `{"id":"batch_1","status":"completed","output_file_id":"file-2","error_file_id":"file-3"}`, "file-2 file-3"},
		"an upload":             {"POST", "/v1/uploads/upload_1/complete", nil, `{}`, "", `{"id":"upload_1","file":{"id":"file-1"}}`, "upload_1 file-1"},
		"a run of a new thread": {"POST", "/v1/threads/runs", nil, `{"assistant_id":"a"}`, "", `{"id":"run_1","thread_id":"thread_1"}`, "run_1 thread_1"},
		"a streamed run": {
			"POST", "/v1/threads/runs", nil, `{"assistant_id":"a","stream":true}`, sse,
			"event: thread.created\ndata: {\"id\":\"thread_1\",\"object\":\"thread\"}\n\nevent: thread.run.created\ndata: {\"id\":\"run_1\",\"thread_id\":\"thread_1\"}\n\n", "thread_1 run_1 thread_1",
		},
		"a refused file": {"POST", "/v1/files", nil, `{}`, "", `{"error":{"message":"no"}}`, ""},
		"Azure's file":   {"POST", "/openai/files?api-version=1", nil, `{}`, "", `{"id":"file-1"}`, "file-1"},

		"Anthropic's file":  {"POST", "/v1/files", anthropic, `{}`, "", `{"type":"file","id":"file_1"}`, "file_1"},
		"Anthropic's batch": {"POST", "/v1/messages/batches", nil, `{"requests":[]}`, "", `{"id":"msgbatch_1","type":"message_batch"}`, "msgbatch_1"},
		"a message":         {"POST", "/v1/messages", nil, `{"model":"m"}`, "", `{"id":"msg_1","type":"message","content":[],"stop_reason":"end_turn"}`, ""},
		"a message with a container": {
			"POST", "/v1/messages", nil, `{"model":"m"}`, "",
			`{"id":"msg_1","type":"message","content":[{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_result","content":[{"file_id":"file_1"}]}}],"container":{"id":"container_1"}}`,
			"file_1 container_1",
		},

		"Google's file":       {"POST", "/upload/v1beta/files", nil, `{}`, "", `{"file":{"name":"files/abc","uri":"https://generativelanguage.googleapis.com/v1beta/files/abc"}}`, "files/abc"},
		"Google's cache":      {"POST", "/v1beta/cachedContents", nil, `{"model":"models/m"}`, "", `{"name":"cachedContents/c1","model":"models/m"}`, "cachedContents/c1"},
		"Google's batch":      {"POST", "/v1beta/models/m:batchGenerateContent", nil, `{"batch":{}}`, "", `{"name":"batches/b1","metadata":{}}`, "batches/b1"},
		"a video":             {"POST", "/v1beta/models/veo:predictLongRunning", nil, `{"instances":[]}`, "", `{"name":"models/veo/operations/op1"}`, "operations/op1"},
		"an interaction":      {"POST", "/v1beta/interactions", nil, `{"model":"m"}`, "", `{"id":"i1","status":"completed"}`, "interactions/i1"},
		"a generated content": {"POST", "/v1beta/models/m:generateContent", nil, `{}`, "", `{"candidates":[],"responseId":"r1"}`, ""},
		"Vertex's cache":      {"POST", "/v1/projects/p/locations/l/cachedContents", nil, `{}`, "", `{"name":"projects/p/locations/l/cachedContents/c1"}`, "cachedContents/c1"},

		"Alibaba's task": {"POST", "/api/v1/services/aigc/text2image/image-synthesis", nil, `{"model":"m"}`, "", `{"output":{"task_id":"t1","task_status":"PENDING"}}`, "t1"},
	} {
		header := test.header
		if header == nil {
			header = http.Header{}
		}
		r, err := wire.Recognize(test.method, parseURL(t, test.path), header)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := r.ReadBody("application/json", []byte(test.body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		media := test.media
		if media == "" {
			media = "application/json"
		}
		s := wire.NewScanner(r.Operation, 200, media, "")
		s.Write([]byte(test.answer))
		got := r.Made(s)
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		if s.Named() < len(got) {
			t.Errorf("%s: %d are named, %d made", name, s.Named(), len(got))
		}
		s.Release()
	}
}

// However many objects a request or an answer names, few are remembered.
func TestStoredObjectsAreBounded(t *testing.T) {
	var ids []string
	for i := range 10_000 {
		ids = append(ids, `"file-`+strings.Repeat("x", i%100)+`"`)
	}
	r, err := wire.Recognize("POST", parseURL(t, "/v1/threads/runs"), http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ReadBody("application/json", []byte(`{"file_ids":[`+strings.Join(ids, ",")+`]}`)); err != nil {
		t.Fatal(err)
	}
	s := wire.NewScanner(r.Operation, 200, "text/event-stream", "")
	for range 10_000 {
		s.Write([]byte("data: {\"id\":\"run_1\"}\n\n"))
	}
	if n, m := len(r.Objects), len(r.Made(s)); n > 10 || m > 10 {
		t.Errorf("%d objects of the request are remembered, %d of the answer", n, m)
	}
	if i := slices.Index(r.Objects, ""); i >= 0 {
		t.Errorf("an object without a name: %q", r.Objects)
	}
}
