// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/internal/recordings"
	ws "github.com/seed83435595/caddy-llm-proxy/streaming/websocket/websockettest"
)

// sessionPaths is where the sessions of a recorded API begin.
var sessionPaths = map[string]string{
	"azure.realtime": "/openai/realtime?api-version=2025-04-01-preview&deployment=d", "gemini.live": livePath,
	"openai.realtime": realtimePath, "xai.realtime": "/v1/realtime?model=grok-voice-latest",
}

// Recorded sessions, played through the gateway in fragments of any size,
// reach the other side as they were, and are accounted for.
func TestRecordedSessions(t *testing.T) {
	all := slices.DeleteFunc(recordings.Load(t), func(r recordings.Recording) bool { return len(r.Messages) == 0 })
	if len(all) == 0 {
		t.Skip("LLM_CORPUS holds no recorded sessions")
	}
	p := newBareProvider(t)
	g := inFrontOf(t, p.url)
	random := rand.New(rand.NewPCG(1, 2))
	calls := 0
	for _, recording := range all {
		path := sessionPaths[recording.Want.API]
		if path == "" {
			t.Errorf("%s: nobody knows where sessions of %s begin", recording.Name, recording.Want.API)
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
		compareSession(t, recording, call)
		if model := fmt.Sprint(call["llm_model"]); asked != "" && !strings.HasSuffix(asked, "/"+model) {
			t.Errorf("%s: model %s, asked for %s", recording.Name, model, asked)
		}
	}
}

// play has both sides send what they have sent, one after the other. It returns
// the model that the client's setup names, if there is one.
func play(t *testing.T, recording recordings.Recording, client *rawClient, provider *meeting, random *rand.Rand) (model string) {
	t.Helper()
	for _, message := range recording.Messages {
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
			t.Fatalf("%s: a message has changed on the way (%v)", recording.Name, err)
		}
	}
	return model
}

// fragments cuts a message into frames, with a ping among them.
func fragments(message, masked []byte, random *rand.Rand) (all []byte) {
	kind := ws.Text
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

// compareSession holds the log against what is expected.
func compareSession(t *testing.T, recording recordings.Recording, call map[string]any) {
	t.Helper()
	want := recording.Want
	expected := map[string]any{"llm_outcome": "ok"}
	if finish := want.Finish(); finish != nil {
		expected["llm_finish"] = finish
	}
	if want.Model != "" {
		expected["llm_model_answered"] = want.Model
	}
	turns := want.Turns()
	if turns != nil {
		expected["llm_input_tokens"], _ = turns.Count("input_total")
		expected["llm_output_tokens"], _ = turns.Count("output_total")
	}
	for field, value := range expected {
		if call[field] != value {
			t.Errorf("%s: %s: got %v, want %v", recording.Name, field, call[field], value)
		}
	}
	if turns == nil && strings.Contains(fmt.Sprint(call), "llm_input_tokens") && call["llm_usage_estimated"] != true {
		t.Errorf("%s: the log says %v", recording.Name, call)
	}
}
