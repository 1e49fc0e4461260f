// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Whatever providers were recorded to answer reaches the client as it is, in
// whatever pieces it comes, and what it says of itself is found: with rescue
// off, and if it is whole also with rescue on.
func TestRecordingsThroughCaddy(t *testing.T) {
	var takes []*take
	table := recordings.Table{}
	for i, r := range recordings.Load(t) {
		if r.Want.Format == "websocket" {
			continue
		}
		call, err := callOf(r)
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			table.Count(r, false)
			continue
		}
		takes = append(takes, newTake(call, "off", i))
		if !takes[len(takes)-1].breaks() {
			takes = append(takes, newTake(call, "resume", i))
		}
	}
	service := newRecordedService(t, takes)
	g := start(t, recordedGateway(service, takes))

	// What each call came to.
	answers := make([]recordedAnswer, len(takes))
	var wg sync.WaitGroup
	work := make(chan int)
	for range 24 {
		wg.Go(func() {
			for i := range work {
				answers[i] = g.play(takes[i])
			}
		})
	}
	for i := range takes {
		work <- i
	}
	close(work)
	wg.Wait()

	lines := map[string]map[string]any{}
	for _, line := range g.awaitCalls(t, len(takes)) {
		lines[fmt.Sprint(line["llm_client"])] = line
	}
	for i, take := range takes {
		faults := take.faults(answers[i], lines[take.name])
		if len(faults) > 0 {
			rescue, _, _ := strings.Cut(take.name, "-")
			t.Errorf("%s, rescue %s: %s", take.Name, rescue, strings.Join(faults, "; "))
		}
		table.Count(take.Recording, len(faults) == 0)
	}
	t.Log(table)
}

// recordedGateway is a Caddyfile with a block for each take, since what one
// has its key penalised for must not touch the others.
func recordedGateway(service *recordedService, takes []*take) string {
	var text strings.Builder
	text.WriteString(head + `http://127.0.0.1:GATEWAY {
`)
	for _, take := range takes {
		base := url.URL{Path: take.base}
		rescue, _, _ := strings.Cut(take.name, "-")
		fmt.Fprintf(&text, `	@%[1]s header `+takeHeader+` %[1]s
	llm_proxy @%[1]s {
		client %[1]s CLIENT
		provider %[1]s "%[2]s" {
			api %[3]s
			key sk-%[1]s
		}
		retry {
			delay 1ms
			wait_for_key off
		}
		rescue %[4]s
	}
`, take.name, service.URL+base.EscapedPath(), take.family, rescue)
	}
	text.WriteString("}\n")
	return text.String()
}

// recordedAnswer is what a client got.
type recordedAnswer struct {
	status      int
	contentType string
	body        []byte
	// err is what ended reading, if not the end of the answer.
	err error
}

// play makes the call of a take.
func (g *gateway) play(take *take) (answer recordedAnswer) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	target := take.path
	if take.query != "" {
		target += "?" + take.query
	}
	req, err := http.NewRequestWithContext(ctx, take.Request.Method, g.url+target, strings.NewReader(string(take.body)))
	if err != nil {
		return recordedAnswer{err: err}
	}
	for name, values := range take.Request.Header {
		req.Header[name] = values
	}
	req.Header.Set(takeHeader, take.name)
	req.Header.Set("Authorization", "Bearer "+clientKey)
	req.Header.Del("Content-Type")
	if take.contentType != "" {
		req.Header.Set("Content-Type", take.contentType)
	}
	if take.family == "dashscope" && take.Want.Stream {
		req.Header.Set("X-Dashscope-Sse", "enable")
	}
	res, err := verbatim.RoundTrip(req)
	if err != nil {
		return recordedAnswer{err: err}
	}
	defer res.Body.Close()
	answer = recordedAnswer{status: res.StatusCode, contentType: res.Header.Get("Content-Type")}
	buffer := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buffer)
		if before := len(answer.body); before < take.end && before+n >= take.end {
			close(take.heard)
		}
		answer.body = append(answer.body, buffer[:n]...)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				answer.err = err
			}
			return answer
		}
	}
}

// verbatim decodes nothing.
var verbatim = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32}

// faults tells what is not as it was recorded.
func (t *take) faults(answer recordedAnswer, line map[string]any) (faults []string) {
	differ := func(what string, want, got any) {
		if fmt.Sprint(want) != fmt.Sprint(got) {
			faults = append(faults, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	switch {
	case errors.Is(answer.err, context.DeadlineExceeded) && len(answer.body) < t.end:
		return []string{fmt.Sprintf("event %d, the first in which something was generated, was not passed on", *t.Want.FirstOutputEvent)}
	case answer.err != nil:
		faults = append(faults, fmt.Sprintf("%v after %d of %d bytes", answer.err, len(answer.body), len(t.Body)))
	}
	if line == nil {
		return append(faults, "the log does not tell of the call")
	}
	if len(t.paths) == 0 {
		return append(faults, fmt.Sprintf("the provider was not asked: %d %.300s", answer.status, answer.body))
	}
	differ("path asked for", t.upstreamPath(), t.paths[0])
	want := t.Want
	class, known := want.Class()
	if want.ErrorClass != "" && !known {
		faults = append(faults, "nobody knows the class "+want.ErrorClass)
	}
	attempts := line["llm_attempts"].([]any)
	inside := want.FailedInside() && want.FirstOutputEvent == nil
	switch {
	case want.Status >= 400 || inside:
		for _, attempt := range attempts {
			differ("class", class, strings.Split(attempt.(string), ":")[1])
		}
		return append(faults, t.refusalFaults(answer, class)...)
	case want.ErrorClass != "":
		differ("class", class, strings.Split(attempts[len(attempts)-1].(string), ":")[1])
	}
	differ("status", want.Status, answer.status)
	differ("content type", t.Header.Get("Content-Type"), answer.contentType)
	outcome := "ok"
	got := string(answer.body)
	if t.cutOff() && len(got) > len(t.Body) {
		// Behind what was recorded stands that it is not whole.
		got, outcome = got[:len(t.Body)], "broken"
	} else if want.FailedInside() {
		outcome = "broken"
	}
	if got != string(t.Body) {
		faults = append(faults, fmt.Sprintf("body: want %d bytes, got %d; they differ at %d", len(t.Body), len(got), firstDifference(string(t.Body), got)))
	}
	differ("outcome", outcome, line["llm_outcome"])
	return append(faults, t.factFaults(line)...)
}

// upstreamPath is the path under which the provider is to be asked: where
// OpenAI's format is spoken, its base stands in place of the version.
func (t *take) upstreamPath() string {
	own := t.path
	if t.family == "openai" {
		own = strings.TrimPrefix(own, "/v1")
	}
	u, err := url.ParseRequestURI(strings.TrimRight(strings.TrimSuffix(t.base, "/."), "/") + own)
	if err != nil {
		return err.Error()
	}
	return u.EscapedPath()
}

// cutOff tells whether the recording itself may lack the end of the stream.
func (t *take) cutOff() bool {
	return t.Want.Stream && t.Want.FinishReason == nil && !t.Want.DoneMarker
}

// breaks tells whether the stream may end in an error, the provider's or ours.
func (t *take) breaks() bool {
	return t.Want.Status < 400 && (t.Want.FailedInside() || t.cutOff())
}

func firstDifference(a, b string) int {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return at
}

// refusalFaults tells what is wrong with how an error was passed on.
func (t *take) refusalFaults(answer recordedAnswer, class keypool.Class) (faults []string) {
	asRecorded := answer.status == t.Want.Status && string(answer.body) == string(t.Body)
	said := fmt.Sprintf("got %d %.200s", answer.status, answer.body)
	switch class {
	case keypool.ClassCredential:
		if answer.status != http.StatusServiceUnavailable || strings.Contains(string(answer.body), string(t.Body)) {
			faults = append(faults, "a rejected key is none of the client's business: "+said)
		}
	case keypool.ClassQuota:
		if !asRecorded && answer.status != http.StatusTooManyRequests {
			faults = append(faults, "a used-up quota: "+said)
		}
	default:
		if t.Want.Status >= 400 && !asRecorded {
			faults = append(faults, fmt.Sprintf("want %d and the %d recorded bytes, %s", t.Want.Status, len(t.Body), said))
		}
	}
	if t.Want.Status < 400 && (answer.status < 400 || !json.Valid(answer.body)) {
		faults = append(faults, "an error within a success: "+said)
	}
	return faults
}

// factFaults tells what of what the answer says is not as expected in the log.
func (t *take) factFaults(line map[string]any) (faults []string) {
	want := t.Want
	differ := func(field string, want any) {
		got, logged := line[field]
		if want == nil && logged || want != nil && fmt.Sprint(want) != fmt.Sprint(got) {
			faults = append(faults, fmt.Sprintf("%s: want %v, got %v", field, want, got))
		}
	}
	var model any
	if want.Model != "" {
		model = want.Model
	}
	differ("llm_model_answered", model)
	differ("llm_finish", want.FinishReason)
	if want.Stream && want.Events != nil && !t.unread {
		differ("llm_events", *want.Events)
	}
	first, _ := line["llm_first_token_ms"].(float64)
	switch {
	case !want.Stream || t.unread:
	case want.FirstOutputEvent == nil && first > 0:
		faults = append(faults, fmt.Sprintf("a first token after %v ms, where nothing was generated", first))
	case want.FirstOutputEvent != nil && first == 0:
		faults = append(faults, "no first token")
	case t.end > 0 && first < float64(hesitation.Milliseconds()):
		faults = append(faults, fmt.Sprintf("the first token came too early, after %v ms", first))
	}
	return append(faults, t.usageFaults(line)...)
}

// usageFaults tells what of the usage is not as expected in the log.
func (t *take) usageFaults(line map[string]any) []string {
	if line["llm_usage_estimated"] == true && (t.cutOff() || t.Want.FailedInside()) {
		return nil
	}
	usages := t.Want.Usages()
	if t.Request.Method != http.MethodPost {
		// What was made before is not used again by looking at it.
		usages = []recordings.Usage{{}}
	}
	var faults []string
	for _, usage := range usages {
		faults = nil
		_, logged := line["llm_input_tokens"]
		if guessed := line["llm_usage_estimated"] == true; logged != usage.HasTokens() && !(guessed && t.generates) || guessed && usage.HasTokens() {
			faults = append(faults, fmt.Sprintf("usage: want %v, got it: %t", usage, logged))
		}
		for field, what := range map[string]string{
			"llm_input_tokens": "input_total", "llm_output_tokens": "output_total", "llm_cache_read_tokens": "cache_read", "llm_cost": "cost",
		} {
			if n, stated := usage.Count(what); stated && fmt.Sprint(n) != fmt.Sprint(line[field]) {
				faults = append(faults, fmt.Sprintf("%s: want %v, got %v", field, n, line[field]))
			}
		}
		if len(faults) == 0 {
			break
		}
	}
	return faults
}
