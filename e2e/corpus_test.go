// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded is an answer that a provider has given, and what it is known to
// say.
type recorded struct {
	name                  string
	Provider, API, Format string
	Status                int `json:"http_status"`
	Model                 string
	Finish                any            `json:"finish_reason"`
	Usage                 map[string]any `json:"usage"`
	IfMerged              map[string]any `json:"usage_if_merged"`
	FromHeaders           map[string]any `json:"usage_from_headers"`
	FromMetrics           map[string]any `json:"usage_from_metrics"`
	StreamError           any            `json:"stream_error"`
	BodyError             any            `json:"body_error"`
	Class                 string         `json:"error_class"`
	IsStream              bool           `json:"is_stream"`

	header map[string]any
	body   []byte
}

// classWords are the corpus's names for the classes of failures, and ours.
var classWords = map[string]string{
	"invalid_key": "credential", "quota_exhausted": "quota", "rate_limited": "rate_limited", "request_exceeds_key_tier": "tier",
	"upstream_overloaded": "overloaded", "upstream_rate_limited": "overloaded", "upstream_error": "upstream", "key_no_permission": "access",
	"model_not_found": "model", "context_length": "context", "content_filter": "policy", "region_unsupported": "region",
	"client_error": "caller", "endpoint_not_found": "caller",
}

// question is how a client asks for such an answer.
type question struct {
	family, method, path, body string
	header                     map[string]string
	// standing says that the answer states the usage of other calls.
	standing bool
}

// compatible are the paths of OpenAI's APIs, whoever offers them.
var compatible = map[string]string{
	"chat": "/v1/chat/completions", "completions": "/v1/completions", "responses": "/v1/responses", "embeddings": "/v1/embeddings",
	"images": "/v1/images/generations", "moderations": "/v1/moderations", "rerank": "/v1/rerank", "ocr": "/v1/ocr", "fim": "/v1/fim/completions",
	"audio.transcriptions": "/v1/audio/transcriptions", "audio.translations": "/v1/audio/translations", "audio.speech": "/v1/audio/speech",
	"openai_chat": "/v1/chat/completions", "compat_chat": "/v1/chat/completions", "agents": "/v1/agents/completions",
}

// ask returns the question to a recorded answer, for a model of that name; ok
// is false for an API that nobody knows.
func (r *recorded) ask(model string) (q question, ok bool) {
	q = question{family: "openai", method: http.MethodPost, body: fmt.Sprintf(`{"model":%q,"stream":%t}`, model, r.IsStream)}
	kind, verb, _ := strings.Cut(r.API, ".")
	get := func(path string) (question, bool) {
		q.method, q.path, q.body, q.standing = http.MethodGet, path, "", true
		return q, true
	}
	switch {
	case verb == "batches" && kind == "anthropic":
		q.family = "anthropic"
		return get("/v1/messages/batches/b1")
	case verb == "batches" && kind == "gemini":
		q.family = "gemini"
		return get("/v1beta/batches/b1")
	case verb == "batches":
		return get("/v1/batches/b1")
	case verb == "files":
		return get("/v1/files/f1")
	case verb == "models":
		return get("/v1/models")
	case verb == "responses.get":
		return get("/v1/responses/resp_1")
	case kind == "deepgram":
		q.path = "/v1/" + verb
	case kind == "anthropic" || verb == "messages":
		q.family = "anthropic"
		q.path = map[string]string{"messages": "/v1/messages", "complete": "/v1/complete", "count_tokens": "/v1/messages/count_tokens"}[verb]
	case kind == "azure" && verb == "responses":
		q.family, q.path = kind, "/openai/v1/responses"
	case kind == "azure" && compatible[verb] != "":
		q.family, q.path = kind, "/openai/deployments/"+model+strings.TrimPrefix(compatible[verb], "/v1")
	case kind == "gemini" && verb == "interactions":
		q.family, q.path = kind, "/v1beta/interactions"
	case (kind == "gemini" || kind == "vertex") && verb != "openai_chat":
		q.family, q.path = kind, googlePath(kind, verb, model)
	case kind == "bedrock":
		q.family, q.path = kind, "/model/"+model+"/"+strings.Replace(verb, "invoke-stream", "invoke-with-response-stream", 1)
	case kind == "cohere" && compatible[verb] == "":
		q.family = kind
		q.path = map[string]string{"v1.chat": "/v1/chat", "v1.generate": "/v1/generate", "v2.chat": "/v2/chat", "embed": "/v2/embed"}[verb]
	case kind == "ollama":
		q.family, q.path = kind, "/api/"+verb
	case kind == "tgi":
		q.family, q.path = kind, map[bool]string{true: "/generate_stream", false: "/generate"}[r.IsStream]
	case kind == "dashscope":
		q.family, q.path = kind, "/api/v1/services/aigc/text-generation/generation"
		if r.IsStream {
			q.header = map[string]string{"X-Dashscope-Sse": "enable"}
		}
	default:
		q.path = compatible[verb]
	}
	return q, q.path != ""
}

// googlePath returns the path of a method of Google's.
func googlePath(kind, verb, model string) string {
	method := map[string]string{
		"generate": "generateContent", "stream": "streamGenerateContent", "embed": "embedContent", "predict": "predict",
		"countTokens": "countTokens", "rawPredict": "rawPredict", "streamRawPredict": "streamRawPredict",
	}[verb]
	switch {
	case method == "":
		return ""
	case kind == "gemini":
		return "/v1beta/models/" + model + ":" + method
	case verb == "embed":
		method = "predict"
	}
	publisher := "google"
	if strings.HasSuffix(verb, "awPredict") {
		publisher = "anthropic"
	}
	return "/v1/projects/p/locations/l/publishers/" + publisher + "/models/" + model + ":" + method
}

// readCorpus reads the recorded answers in a folder.
func readCorpus(t *testing.T, folder string) []*recorded {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*", "expected.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings in LLM_CORPUS=%s (%v)", folder, err)
	}
	var all []*recorded
	for _, path := range paths {
		r := &recorded{name: filepath.Base(filepath.Dir(path))}
		var answer struct{ Headers map[string]any }
		for name, into := range map[string]any{"expected.json": r, "headers.json": &answer} {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
			if err == nil {
				err = json.Unmarshal(text, into)
			}
			if err != nil {
				t.Fatalf("reading %s of %s: %v", name, r.name, err)
			}
		}
		r.header = answer.Headers
		if r.body, err = os.ReadFile(filepath.Join(filepath.Dir(path), "body.bin")); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// play serves the answer in random pieces.
func (r *recorded) play(w http.ResponseWriter, random *rand.Rand) {
	for name, value := range r.header {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		w.Header().Set(name, fmt.Sprint(value))
	}
	w.WriteHeader(r.Status)
	most := max(1, min(4096, len(r.body)/max(1, random.IntN(100))))
	for rest := r.body; len(rest) > 0; {
		n := min(1+random.IntN(most), len(rest))
		_, _ = w.Write(rest[:n])
		_ = http.NewResponseController(w).Flush()
		rest = rest[n:]
	}
}

// TestRecordedAnswersPass plays what providers have answered to the built
// Caddy, in random pieces: the client must get it byte for byte, and the log
// must say what it says. Each has a provider of its own, so that no failure
// changes what becomes of the next.
func TestRecordedAnswersPass(t *testing.T) {
	folder := os.Getenv("LLM_CORPUS")
	if folder == "" {
		t.Skip("LLM_CORPUS names no folder of recorded answers")
	}
	corpus := map[string]*recorded{}
	seed := uint64(time.Now().UnixNano())
	t.Logf("the pieces are those of seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { corpus[r.Header.Get("X-Case")].play(w, random) }))
	defer up.Close()
	var providers, models strings.Builder
	all := readCorpus(t, folder)
	for _, r := range all {
		corpus[r.name] = r
		if q, ok := r.ask(r.name); ok && r.Format != "websocket" {
			fmt.Fprintf(&providers, "provider %s %s/%s {\napi %s\nkey key-%s\n}\n", r.name, up.URL, r.name, q.family, r.name)
			fmt.Fprintf(&models, "model %s %s\n", r.name, r.name)
		}
	}
	g := start(t, `{
	admin off
	persist_config off
	skip_install_trust
}
http://127.0.0.1:GATEWAY {
	llm_proxy {
		client app CLIENT
		retry {
			attempts 0
			wait_for_key off
		}
`+providers.String()+models.String()+"}\n}\n")
	type score struct{ passed, total int }
	table := map[string]*score{}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	asked := 0
	for _, r := range all {
		if r.Format == "websocket" {
			continue // sessions are played elsewhere
		}
		line := r.Provider + " " + r.API
		if table[line] == nil {
			table[line] = &score{}
		}
		table[line].total++
		q, ok := r.ask(r.name)
		if !ok {
			t.Errorf("%s: nobody knows the API %s", r.name, r.API)
			continue
		}
		req := g.newRequest(t, q.method, q.path, q.body)
		req.Header.Set("X-Case", r.name)
		for name, value := range q.header {
			req.Header.Set(name, value)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		var text bytes.Buffer
		_, broken := text.ReadFrom(res.Body)
		res.Body.Close()
		asked++
		if faults := r.faults(q, res.StatusCode, text.Bytes(), broken, g.awaitCalls(t, asked)[asked-1]); len(faults) > 0 {
			t.Errorf("%s: %s", r.name, strings.Join(faults, "; "))
			continue
		}
		table[line].passed++
	}
	var lines []string
	for line, s := range table {
		lines = append(lines, fmt.Sprintf("%-45s %d/%d", line, s.passed, s.total))
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
}

// faults tells what of the answer, and of the log about it, is not as it
// should be.
func (r *recorded) faults(q question, status int, text []byte, broken error, log map[string]any) (faults []string) {
	differ := func(what string, want, got any) {
		if got == nil {
			got = ""
		}
		if fmt.Sprint(want) != fmt.Sprint(got) {
			faults = append(faults, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	attempts, _ := log["llm_attempts"].([]any)
	if len(attempts) == 0 {
		return []string{fmt.Sprintf("never asked for: %d %s", status, text)}
	}
	_, outcome, _ := strings.Cut(fmt.Sprint(attempts[0]), ":")
	class, _, _ := strings.Cut(outcome, ":")
	if r.Status >= 400 || r.StreamError != nil || r.BodyError != nil {
		if r.Status >= 400 && status < 400 {
			differ("status", r.Status, status)
		}
		if r.Class != "" {
			differ("class", classWords[r.Class], class)
		}
		return faults
	}
	differ("status", r.Status, status)
	// Some recordings were cut off. What is behind them is our own error.
	cut := bytes.Contains(text, []byte("upstream_broken")) || broken != nil
	if !bytes.Equal(text, r.body) && !(cut && bytes.HasPrefix(text, r.body[:min(len(r.body), len(text))])) {
		at := 0
		for at < min(len(text), len(r.body)) && text[at] == r.body[at] {
			at++
		}
		differ("body", fmt.Sprintf("%d bytes, from %d on %.60q", len(r.body), at, r.body[at:]), fmt.Sprintf("%d bytes, %.60q", len(text), text[at:]))
	}
	differ("model", r.Model, log["llm_model_answered"])
	if r.Finish == nil {
		r.Finish = ""
	}
	differ("finish", r.Finish, log["llm_finish"])
	if estimated, _ := log["llm_usage_estimated"].(bool); !estimated && !q.standing {
		faults = append(faults, r.usageFaults(log)...)
	}
	return faults
}

// usageFaults tells what of the usage is none of what it may be.
func (r *recorded) usageFaults(log map[string]any) (faults []string) {
	for _, usage := range []map[string]any{r.FromMetrics, r.FromHeaders, r.IfMerged, r.Usage} {
		if usage == nil {
			continue
		}
		faults = nil
		for what, field := range map[string]string{"input_total": "llm_input_tokens", "output_total": "llm_output_tokens", "cache_read": "llm_cache_read_tokens", "cost": "llm_cost"} {
			want, stated := usage[what]
			if got := log[field]; stated && fmt.Sprint(want) != fmt.Sprint(got) {
				faults = append(faults, fmt.Sprintf("%s: want %v, got %v", what, want, got))
			}
		}
		if len(faults) == 0 {
			return nil
		}
	}
	return faults
}
