// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

var dialects = []*Dialect{
	dialectChat, dialectResponses, dialectEmbeddings, dialectImages, dialectAudio, dialectMessages, dialectCountTokens, dialectGenerate,
	dialectConverse, dialectInvoke, dialectComplete, dialectCohere, dialectOllama, dialectOllamaEmbed, dialectTGI, dialectDashScope,
	dialectInteractions, dialectLive, dialectRealtime, dialectResponsesSession, dialectBatch, dialectEmbed, dialectLlama, dialectTask,
}

// FuzzScanner wants the same result however the answer is cut.
func FuzzScanner(f *testing.F) {
	media := []string{eventStreamType, jsonType, "text/plain", "", "application/x-ndjson", framesType}
	for i, seed := range []string{
		stream(`{"model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`, "[DONE]"),
		"event: error\n\n", "error: {}\n\ndata: [DONE]", `[{"candidates":[{"finishReason":"STOP"}]},{"error":{}}]`, "{\"error\":1}\n{}\n", "\ufeff{}",
		stream(`{"type":"message_delta","usage":{"output_tokens":3}}`) + "{\n \"error\": 1}\n",
	} {
		f.Add(seed, uint8(i), uint8(i), uint8(1), uint8(3))
	}
	for i, d := range dialects {
		seed := chunk(`{"type":"error","error":{}}`) + event("metadata", `{"usage":{"inputTokens":1}}`) + frame(`{}`, ":exception-type", "x")
		f.Add(seed, uint8(i), uint8(5), uint8(1), uint8(3))
		f.Add("{\"done\":true]\n{\"usage\":{\"iterations\":[{\"type\":\"compaction\"}]}}", uint8(i), uint8(4), uint8(1), uint8(len(d.ends)))
	}
	f.Fuzz(func(t *testing.T, body string, dialect, label, a, b uint8) {
		d, m := dialects[int(dialect)%len(dialects)], media[int(label)%len(media)]
		whole := scanned(d, m, []byte(body), func() int { return max(1, len(body)) })
		turn := 0
		cut := scanned(d, m, []byte(body), func() int {
			turn++
			if turn%2 == 0 {
				return int(a) + 1
			}

			return int(b) + 1
		})
		if cut != whole {
			t.Errorf("whole: %+v\npieces: %+v", whole, cut)
		}
	})
}

const longChatChunk = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","service_tier":"default",` +
	`"choices":[{"index":0,"delta":{"content":" world"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x8dfk2"}` + "\n\n"

// BenchmarkScanner reads a long chat, in pieces as a network brings them.
func BenchmarkScanner(b *testing.B) {
	const events = 1000
	body := []byte(strings.Repeat(longChatChunk, events))
	s := NewScanner(&Operation{Dialect: dialectChat}, 200, eventStreamType, "")
	defer s.Release()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1400)
			s.Write(rest[:n])
			rest = rest[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}

func TestReadingAlongAllocatesNothingPerEvent(t *testing.T) {
	const (
		chat     = `{"id":"c1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"wo\u00efrd"},"finish_reason":null}],"usage":null}`
		message  = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word"}}`
		usage    = `{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":7,"iterations":[{"type":"compaction","input_tokens":1}]}}`
		response = `{"type":"response.output_text.delta","sequence_number":7,"delta":"word","obfuscation":"x"}`
		generate = `{"candidates":[{"content":{"parts":[{"text":"word"}]},"index":0}],"usageMetadata":{"promptTokenCount":5,"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":3}]}}`
	)
	for name, test := range map[string]struct {
		dialect            *Dialect
		media, head, event string
	}{
		"a chat":               {dialectChat, eventStreamType, "", longChatChunk},
		"a chat with comments": {dialectChat, eventStreamType, "", ": PROCESSING\n\n" + stream(chat)},
		"CR LF":                {dialectGenerate, eventStreamType, "", strings.ReplaceAll(stream(generate), "\n", "\r\n")},
		"named events":         {dialectMessages, eventStreamType, "", "event: content_block_delta\n" + stream(message) + "event: message_delta\n" + stream(usage)},
		"Responses":            {dialectResponses, eventStreamType, "", "event: response.output_text.delta\n" + stream(response)},
		"many lines of data":   {dialectChat, eventStreamType, "", "id: 7\nretry: 5\ndata:{\"choices\":\ndata: [{\"delta\":{\"content\":\"a\"}}]}\n\n"},
		"stray lines":          {dialectChat, eventStreamType, ": hi\n\n", "stray: {\"a\":1}\n{\"b\":2}\n\n" + stream(chat)},
		"an array":             {dialectGenerate, jsonType, "[" + generate, ",\r\n" + generate},
		"lines":                {dialectOllama, "application/x-ndjson", "", `{"model":"m1","message":{"role":"assistant","content":"word"},"done":false}` + "\n"},
		"malformed lines":      {dialectOllama, "application/x-ndjson", "{}\n", `{"model":"m1",]` + "\n"},
		"frames":               {dialectConverse, framesType, "", event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"word"},"p":"abc"}`)},
		"frames that wrap":     {dialectInvoke, framesType, "", chunk(message)},
	} {
		s := NewScanner(&Operation{Dialect: test.dialect}, 200, test.media, "")
		s.Write([]byte(test.head))
		event := []byte(test.event)
		for range 10 {
			s.Write(event)
		}
		before := s.Result().Events
		n := testing.AllocsPerRun(1000, func() {
			s.Write(event[:len(event)/3])
			s.Write(event[len(event)/3:])
		})
		if n != 0 {
			t.Errorf("%s: %v allocations per event", name, n)
		}
		if s.Result().Events < before+1000 {
			t.Errorf("%s: %d events were seen", name, s.Result().Events-before)
		}
		s.Release()
	}
	session := NewSessionScanner(&Operation{Dialect: dialectRealtime})
	defer session.Release()
	turn := []byte(`{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":12,"input_tokens":5,"output_tokens":7}}}`)
	if n := testing.AllocsPerRun(1000, func() { session.Write(turn); session.EndMessage() }); n != 0 {
		t.Errorf("a session: %v allocations per message", n)
	}
}

// TestAGiantEventTakesLittleMemory reads an event of 20 MiB in every framing,
// and wants the scanner to stay below 64 KiB.
func TestAGiantEventTakesLittleMemory(t *testing.T) {
	giant := strings.Repeat("aGVsbG8gd29ybGQg", 20<<20/16)
	giantFrame := frame(`{"delta":{"text":"`+giant+`"}}`, ":event-type", "contentBlockDelta", ":message-type", "event")
	giantFrame, frameEnd := giantFrame[:len(giantFrame)-len(`"}}`)-4], giantFrame[len(giantFrame)-len(`"}}`)-4:]
	for name, test := range map[string]struct {
		dialect    *Dialect
		media      string
		head, tail string
	}{
		"server-sent events": {dialectResponses, eventStreamType, `data: {"type":"response.image_generation_call.partial_image","partial_image_b64":"`, "\"}\n\n"},
		"document":           {dialectImages, jsonType, `{"data":[{"b64_json":"`, `"}],"usage":{"input_tokens":5,"output_tokens":7}}`},
		"array":              {dialectGenerate, jsonType, `[{"candidates":[{"content":{"parts":[{"inlineData":{"data":"`, `"}}]}}]}]`},
		"lines":              {dialectOllama, "application/x-ndjson", `{"message":{"images":["`, "\"]}}\n"},
		"a frame":            {dialectConverse, framesType, giantFrame[:len(giantFrame)-len(giant)], frameEnd},
	} {
		// None from the pool, which may have grown already.
		scanners = sync.Pool{New: func() any { return new(Scanner) }}
		piece := []byte(giant[:32<<10])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s := NewScanner(&Operation{Dialect: test.dialect}, 200, test.media, "")
		s.Write([]byte(test.head))
		for range len(giant) / len(piece) {
			s.Write(piece)
		}
		s.Write([]byte(test.tail))
		s.Close()
		runtime.ReadMemStats(&after)
		if size := int(unsafe.Sizeof(*s)) + cap(s.text) + cap(s.stray); size >= 64<<10 {
			t.Errorf("%s: the scanner takes %d bytes", name, size)
		}
		// What was allocated on the way includes what was outgrown.
		if took := after.TotalAlloc - before.TotalAlloc; took > 128<<10 {
			t.Errorf("%s: %d bytes were allocated", name, took)
		}
		if s.Result().Events != 1 || !s.Started() {
			t.Errorf("%s: %+v", name, s.Result())
		}
		s.Release()
	}
}
