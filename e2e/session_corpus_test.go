// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ws "github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
)

// recordedSession is what is expected of a recording.
type recordedSession struct {
	API, Format   string
	Model         string
	PerResponse   []map[string]float64 `json:"usage_per_response"`
	PerMessage    []map[string]float64 `json:"usage_per_message"`
	FinishReason  string               `json:"finish_reason"`
	FinishReasons []string             `json:"finish_reasons"`
}

// sessionPaths is where the sessions of a recorded API begin.
var sessionPaths = map[string]string{
	"azure.realtime": "/openai/realtime?api-version=2025-04-01-preview&deployment=d", "gemini.live": livePath,
	"openai.realtime": realtimePath, "xai.realtime": "/v1/realtime?model=grok-voice-latest",
}

// Recorded sessions, played through the gateway in fragments of any size,
// reach the other side as they were, and are accounted for.
func TestRecordedSessions(t *testing.T) {
	corpus := os.Getenv("LLM_CORPUS")
	if corpus == "" {
		t.Skip("LLM_CORPUS names no folder of recorded sessions")
	}
	recordings, err := filepath.Glob(filepath.Join(corpus, "*", "frames.jsonl"))
	if err != nil || len(recordings) == 0 {
		t.Fatalf("no recorded sessions in LLM_CORPUS=%s (%v)", corpus, err)
	}
	p := newBareProvider(t)
	g := inFrontOf(t, p.url)
	random := rand.New(rand.NewPCG(1, 2))
	calls := 0
	for _, recording := range recordings {
		var want recordedSession
		text, err := os.ReadFile(filepath.Join(filepath.Dir(recording), "expected.json"))
		if err != nil || json.Unmarshal(text, &want) != nil {
			t.Fatalf("reading what is expected of %s: %v", recording, err)
		}
		path := sessionPaths[want.API]
		if path == "" {
			t.Errorf("%s: nobody knows where sessions of %s begin", recording, want.API)
			continue
		}
		client := g.rawDial(t, path, handshake...)
		provider := p.meet(t)
		provider.shake()
		client.answer(t)
		asked := play(t, recording, client, provider, random)
		_, _ = provider.Conn.Write(ws.Frame(ws.Close, []byte("\x03\xe8"), nil))
		_ = provider.Conn.Close()
		ended(t, "client", client)
		_ = client.Conn.Close()
		calls++
		call := g.awaitCalls(t, calls)[calls-1]
		want.compare(t, filepath.Base(filepath.Dir(recording)), call)
		if model := fmt.Sprint(call["llm_model"]); asked != "" && !strings.HasSuffix(asked, "/"+model) {
			t.Errorf("%s: model %s, asked for %s", recording, model, asked)
		}
	}
}

// play has both sides send what they have sent, one after the other. It returns
// the model that the client's setup names, if there is one.
func play(t *testing.T, recording string, client *rawClient, provider *meeting, random *rand.Rand) (model string) {
	t.Helper()
	file, err := os.Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var message struct {
			Dir  string
			Data json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			t.Fatalf("reading %s: %v", recording, err)
		}
		var setup struct{ Setup struct{ Model string } }
		if _ = json.Unmarshal(message.Data, &setup); setup.Setup.Model != "" {
			model = setup.Setup.Model
		}
		from, to, masked := io.Writer(provider.Conn), io.Reader(client), []byte(nil)
		if message.Dir == "sent" {
			from, to, masked = client.Conn, provider, mask
		}
		sent := fragments(message.Data, masked, random)
		go send(from, sent, rand.New(rand.NewPCG(random.Uint64(), 1)))
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%s: a message has changed on the way (%v)", recording, err)
		}
	}
	return model
}

// fragments cuts a message into frames, with a ping among them.
func fragments(message, masked []byte, random *rand.Rand) (all []byte) {
	kind := byte(ws.Text)
	for len(message) > 0 {
		n := min(1+random.IntN(2000), len(message))
		last := byte(0)
		if n == len(message) {
			last = ws.Last
		}
		all = append(all, ws.Frame(kind|last, message[:n], masked)...)
		if last == 0 && random.IntN(3) == 0 {
			all = append(all, ws.Frame(ws.Ping, []byte("x"), masked)...)
		}
		kind, message = 0, message[n:]
	}
	return all
}

// compare holds the log against what is expected.
func (want recordedSession) compare(t *testing.T, name string, call map[string]any) {
	t.Helper()
	var input, output float64
	stated := false
	for _, turn := range append(want.PerResponse, want.PerMessage...) {
		input, output = input+turn["input_total"], output+turn["output_total"]
		stated = stated || len(turn) > 0
	}
	if n := len(want.FinishReasons); n > 0 {
		want.FinishReason = want.FinishReasons[n-1]
	}
	expected := map[string]any{"llm_outcome": "ok"}
	if want.FinishReason != "" {
		expected["llm_finish"] = want.FinishReason
	}
	if want.Model != "" {
		expected["llm_model_answered"] = want.Model
	}
	if stated {
		expected["llm_input_tokens"], expected["llm_output_tokens"] = input, output
	}
	for field, value := range expected {
		if call[field] != value {
			t.Errorf("%s: %s: got %v, want %v", name, field, call[field], value)
		}
	}
	if !stated && strings.Contains(fmt.Sprint(call), "llm_input_tokens") && call["llm_usage_estimated"] != true {
		t.Errorf("%s: the log says %v", name, call)
	}
}
