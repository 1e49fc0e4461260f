// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

const jsonType = "application/json; charset=utf-8"

func TestBodyTellsModelAndStream(t *testing.T) {
	for _, test := range []struct {
		path, contentType, body string
		model                   string
		stream                  bool
	}{
		{"/v1/chat/completions", jsonType, `{"model":"m","stream":true}`, "m", true},
		{"/v1/chat/completions", jsonType, "\r\n\t {\"stream\":null , \"model\" : \"a/b:c\" }\n", "a/b:c", false},
		{"/v1/chat/completions", "", `{"model":"m","stream":false}`, "m", false},
		{"/v1/chat/completions", jsonType, `{"\u006dodel":"caf\u00e9 \ud83d\ude00"}`, "café 😀", false},
		{"/v1/chat/completions", jsonType, `{"model":"first","model":"last"}`, "last", false},
		{"/v1/chat/completions", jsonType, `{"model":"first","MODEL":"last","Stream":true}`, "last", true},
		{"/v1/chat/completions", jsonType, `{"messages":[{"model":"no","stream":true}],"x":{"model":"no"},"model":"m"}`, "m", false},
		{"/v1/messages", jsonType, `{"model":"m","metadata":{"model":"no"}}`, "m", false},
		{"/v1beta/models/m:generateContent", jsonType, `{"contents":[{"model":"no"}]}`, "m", false},
		{"/v1beta/models/m:streamGenerateContent", jsonType, `{"contents":[]}`, "m", true},
		{"/v1beta/interactions", jsonType, `{"model":"models/m","stream":true}`, "m", true},
		{"/v1/moderations", jsonType, `{"input":"x"}`, "", false},
		// What is passed through is not judged.
		{"/v1/batches", jsonType, `{"model":`, "", false},
		{"/v1/batches", jsonType, `{"model":7}`, "", false},
		{"/v1/rerank", jsonType, `{"model":"m"}`, "m", false},
		{"/v1/files", "application/octet-stream", `x`, "", false},
		{"/v1/files", "", ``, "", false},
	} {
		r := recognize(t, "POST", test.path)
		if err := r.ReadBody(test.contentType, []byte(test.body)); err != nil {
			t.Errorf("%s %s: %v", test.path, test.body, err)
		} else if r.Model != test.model || r.Stream != test.stream {
			t.Errorf("%s %s: got %q %v", test.path, test.body, r.Model, r.Stream)
		}
	}
}

func TestBadBodyIsExplained(t *testing.T) {
	for _, test := range []struct {
		contentType, body string
		status            int
		code, says        string
	}{
		{jsonType, ``, 400, "missing_body", "no body"},
		{jsonType, "  \n", 400, "missing_body", "no body"},
		{jsonType, `{"model":"m"`, 400, "invalid_json", "not valid JSON"},
		{jsonType, `{"model":"m",}`, 400, "invalid_json", "not valid JSON"},
		{jsonType, `{"model":"m"}{"model":"n"}`, 400, "invalid_json", "not valid JSON"},
		{jsonType, `{"model":"m"} x`, 400, "invalid_json", "not valid JSON"},
		{jsonType, `[{"model":"m"}]`, 400, "invalid_json", "not an object"},
		{jsonType, `"model"`, 400, "invalid_json", "not an object"},
		{jsonType, `{}`, 400, "missing_model", "names no model"},
		{jsonType, `{"model":7}`, 400, "invalid_model", "must be a string"},
		{jsonType, `{"model":null}`, 400, "invalid_model", "must be a string"},
		{jsonType, `{"model":{"name":"m"}}`, 400, "invalid_model", "must be a string"},
		{jsonType, `{"model":["m"]}`, 400, "invalid_model", "must be a string"},
		{jsonType, `{"model":""}`, 400, "invalid_model", "empty"},
		{jsonType, `{"model":" "}`, 400, "invalid_model", "empty"},
		{jsonType, `{"model":"a\u0000b"}`, 400, "invalid_model", "control"},
		{jsonType, `{"model":"` + strings.Repeat("m", 257) + `"}`, 400, "invalid_model", "longer"},
		{jsonType, `{"model":"m"` + strings.Repeat(`,"model":"m"`, 8) + `}`, 400, "invalid_model", "more than 8 times"},
		{jsonType, `{"model":7,"model":"m"}`, 400, "invalid_model", "must be a string"},
		{jsonType, `{"model":"m","stream":"true"}`, 400, "invalid_stream", "true or false"},
		{jsonType, `{"model":"m","stream":1}`, 400, "invalid_stream", "true or false"},
		{jsonType, `{"model":"m","stream":{}}`, 400, "invalid_stream", "true or false"},
		{jsonType, "\x1f\x8b\x08\x00", 415, "unsupported_encoding", "compressed"},
		{"text/plain", `{"model":"m"}`, 415, "unsupported_media_type", "application/json"},
		{"", `model=m`, 415, "unsupported_media_type", "application/json"},
		{"multipart/form-data", `{"model":"m"}`, 400, "invalid_form", "boundary"},
	} {
		err := recognize(t, "POST", "/v1/chat/completions").ReadBody(test.contentType, []byte(test.body))
		var bad *wire.RequestError
		if !errors.As(err, &bad) || bad.Status != test.status || bad.Code != test.code || !strings.Contains(bad.Message, test.says) {
			t.Errorf("%.40q: got %#v", test.body, err)
		}
	}
}

// A stored prompt has a model of its own; a prompt that is text has none.
func TestStoredPromptNeedsNoModel(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"prompt":{"id":"pmpt_1","version":"2"}}`: true,
		`{"prompt":"pmpt_1"}`:                      false,
		`{"prompt":{"id":null}}`:                   false,
		`{"prompt":{"variables":{"id":"x"}}}`:      false,
	} {
		r := recognize(t, "POST", "/v1/responses")
		if err := r.ReadBody(jsonType, []byte(body)); (err == nil) != ok || r.Model != "" {
			t.Errorf("%s: %v, model %q", body, err, r.Model)
		}
	}
}

// A batch names the model in each of its requests; but however much a body may
// hold, what is remembered of it is bounded.
func TestModelIsNamedInBoundedlyManyPlaces(t *testing.T) {
	const line = `"model":"models/a"`
	for _, test := range []struct {
		path, body string
		ok         bool
	}{
		{"/v1/chat/completions", "{" + line + strings.Repeat(","+line, 7) + "}", true},
		{"/v1/chat/completions", "{" + line + strings.Repeat(","+line, 8) + "}", false},
		{"/v1/chat/completions", "{" + line + strings.Repeat(","+line, 1<<18) + "}", false},
		{"/v1/chat/completions", `{"model":7` + strings.Repeat(`,"model":7`, 1<<18) + "}", false},
		{"/v1beta/models/a:batchEmbedContents", `{"requests":[{` + line + "}" + strings.Repeat(",{"+line+"}", 999) + "]}", true},
		{"/v1beta/models/a:batchEmbedContents", `{"requests":[{` + line + "}" + strings.Repeat(",{"+line+"}", 1<<18) + "]}", false},
	} {
		body := []byte(test.body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := recognize(t, "POST", test.path).ReadBody(jsonType, body)
		runtime.ReadMemStats(&after)
		var bad *wire.RequestError
		refused := errors.As(err, &bad) && bad.Code == "invalid_model"
		if took := after.TotalAlloc - before.TotalAlloc; refused == test.ok || took > 1<<20 {
			t.Errorf("%.60s…: %v, %d bytes allocated", test.body, err, took)
		}
	}
}

func TestModelIsReplacedByteExactly(t *testing.T) {
	for _, test := range []struct{ path, body, model, want string }{
		{"/v1/chat/completions", `{"model":"a" , "x":1.0e1}`, "a", ``},
		{"/v1/chat/completions", `{ "x":"\u0061","model" : "a" , "y":1.0e1}`, "b", `{ "x":"\u0061","model" : "b" , "y":1.0e1}`},
		{"/v1/chat/completions", `{"model":"a","model":"\u0062"}`, "c", `{"model":"c","model":"c"}`},
		{"/v1/chat/completions", `{"model":"a","model":"b"}`, "b", `{"model":"b","model":"b"}`},
		{"/v1/chat/completions", `{"Model":"a","model":"b"}`, "b", `{"Model":"b","model":"b"}`},
		{"/v1/chat/completions", `{"model":"a"}`, `q"\é`, `{"model":"q\"\\é"}`},
		{"/v1/moderations", `{"input":"x"}`, "b", ``},
		{"/v1beta/models/a:batchEmbedContents", `{"requests":[{"model":"models/a"},{"model":"models/a"}]}`, "b", `{"requests":[{"model":"models/b"},{"model":"models/b"}]}`},
		{"/v1beta/models/a:batchEmbedContents", `{"requests":[{"model":"models/other"}]}`, "a", `{"requests":[{"model":"models/a"}]}`},
		{"/v1beta/models/a:countTokens", `{"generateContentRequest":{"model":"models/a"}}`, "tunedModels/t", `{"generateContentRequest":{"model":"tunedModels/t"}}`},
	} {
		r := recognize(t, "POST", test.path)
		body := []byte(test.body)
		if err := r.ReadBody(jsonType, body); err != nil {
			t.Errorf("%s: %v", test.body, err)
			continue
		}
		got := r.Body(body, test.model)
		switch {
		case test.want == "" && (len(got) != len(body) || &got[0] != &body[0]):
			t.Errorf("%s: was copied to %s", test.body, got)
		case test.want != "" && string(got) != test.want:
			t.Errorf("%s: got %s, want %s", test.body, got, test.want)
		case string(body) != test.body:
			t.Errorf("%s: the client's body was changed", test.body)
		}
	}
}

func TestFormTellsModelAndKeepsFiles(t *testing.T) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if err := form.SetBoundary("b"); err != nil {
		t.Fatal(err)
	}
	// Content that looks like a delimiter, and a field within a file.
	content := "RIFF\r\n--bogus\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nno\r\n--b-"
	file, _ := form.CreateFormFile("file", "a.wav")
	_, _ = file.Write([]byte(content))
	_ = form.WriteField("model", "whisper-1")
	_ = form.WriteField("prompt", "")
	_ = form.WriteField("stream", "true")
	_ = form.Close()

	r := recognize(t, "POST", "/v1/audio/transcriptions")
	if err := r.ReadBody(form.FormDataContentType(), body.Bytes()); err != nil {
		t.Fatal(err)
	}
	if r.Model != "whisper-1" || !r.Stream {
		t.Errorf("got %q %v", r.Model, r.Stream)
	}
	want := strings.Replace(body.String(), "whisper-1", "whisper-large", 1)
	if got := string(r.Body(body.Bytes(), "whisper-large")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBrokenFormIsExplained(t *testing.T) {
	const disposition = "Content-Disposition: form-data; name=\"model\"\r\n\r\n"
	for _, test := range []struct{ body, code string }{
		{"preamble\r\n--b\r\n" + disposition + "m\r\n--b--", "invalid_form"},
		{"--b\r\n" + disposition + "m", "invalid_form"},
		{"--b\r\n" + disposition + "m\r\n--bc--", "invalid_form"},
		{"--b\r\nContent-Type: text/plain\r\n\r\nm\r\n--b--", "invalid_form"},
		{"--b\r\nContent-Disposition: form-data; name=\"x\"; name=\"model\"\r\n\r\nm\r\n--b--", "invalid_form"},
		{"--b", "invalid_form"},
		{"--b\r\n" + disposition + "--b\r\n" + disposition + "n\r\n--b--", "invalid_form"},
		{"--b\r\n" + disposition + "m\r\n--b--x\r\n--b\r\n" + disposition + "n\r\n--b--", "invalid_form"},
		{"--b--", "missing_model"},
		{"--b\r\n" + disposition + "\r\n--b--", "invalid_model"},
		{"--b\r\n" + disposition + strings.Repeat("m", 257) + "\r\n--b--", "invalid_model"},
	} {
		err := recognize(t, "POST", "/v1/audio/transcriptions").ReadBody("multipart/form-data; boundary=b", []byte(test.body))
		var bad *wire.RequestError
		if !errors.As(err, &bad) || bad.Code != test.code {
			t.Errorf("%q: got %#v", test.body, err)
		}
	}
}

// A body that is accepted means the same afterwards, but for the model.
func FuzzReplacedBodyDiffersInTheModelOnly(f *testing.F) {
	for _, seed := range []string{
		`{"model":"a","stream":true}`, `{"model":"a","model":"b"}`, `{"a":[1,{"model":"x"}],"\u006dodel":"\ud83d\ude00"}`, ` {"model":"a"} `, `{"model":"a","mOdel":"b"}`,
	} {
		f.Add([]byte(seed), "other")
	}
	f.Fuzz(func(t *testing.T, body []byte, model string) {
		r := recognize(t, "POST", "/v1/chat/completions")
		if r.ReadBody(jsonType, body) != nil {
			return
		}
		var before, after map[string]any
		// Where the scanner is more lenient than a parser there is nothing to
		// compare; a provider refuses such a body.
		if json.Unmarshal(body, &before) != nil {
			return
		}
		replaced := r.Body(body, model)
		if err := json.Unmarshal(replaced, &after); err != nil {
			t.Fatalf("%q became %q: %v", body, replaced, err)
		}
		if named := namedModel(body); named != r.Model {
			t.Fatalf("%q: read %q, a parser %q", body, r.Model, named)
		}
		if want := strings.ToValidUTF8(model, "\ufffd"); namedModel(replaced) != want && model == want {
			t.Fatalf("%q: got %q, want %q", body, namedModel(replaced), want)
		}
		isModel := func(key string, _ any) bool { return strings.EqualFold(key, "model") }
		maps.DeleteFunc(before, isModel)
		maps.DeleteFunc(after, isModel)
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", body, replaced)
		}
	})
}

// namedModel returns the model as a parser that minds no case finds it.
func namedModel(body []byte) string {
	var named struct {
		Model any `json:"model"`
	}
	_ = json.Unmarshal(body, &named)
	return fmt.Sprint(named.Model)
}

// A form that is accepted is read by the standard library as it is read here.
func FuzzFormNamesOneModel(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n"))
	f.Add([]byte("--b \r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--bb\r\n--b--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := recognize(t, "POST", "/v1/audio/transcriptions")
		if r.ReadBody("multipart/form-data; boundary=b", body) != nil {
			return
		}
		for _, model := range []string{r.Model, "other"} {
			form := multipart.NewReader(bytes.NewReader(r.Body(body, model)), "b")
			for {
				part, err := form.NextRawPart()
				if err != nil {
					break
				}
				value, err := io.ReadAll(part)
				if err != nil {
					break
				}
				if part.FormName() == "model" && part.FileName() == "" && string(value) != model {
					t.Fatalf("%q: read %q, the library %q", body, model, value)
				}
			}
		}
	})
}
