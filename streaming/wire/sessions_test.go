// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func TestSessionsAddUpTheirTurns(t *testing.T) {
	messages := strings.Join([]string{
		`{"type":"session.created","session":{"model":"m1","tools":[{"usage":{"input_tokens":99}}]}}`,
		`{"type":"error","error":{"type":"invalid_request_error","message":"no such item"}}`,
		`{"type":"response.created","response":{"status":"in_progress","usage":null}}`,
		`{"type":"response.output_audio.delta","delta":"aGk="}`,
		`{"type":"conversation.item.input_audio_transcription.completed","transcript":"usage","usage":{"type":"tokens","input_tokens":3,"output_tokens":4}}`,
		`{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":12,"input_tokens":5,"output_tokens":7,"input_token_details":{"audio_tokens":2,"cached_tokens":1}}}}`,
		`this is no JSON {`,
		`{"type":"response.done","response":{"status":"cancelled","usage":{"total_tokens":30,"input_tokens":10,"output_tokens":20,"input_token_details":{"cached_tokens":4}}}}`,
		`{"type":"conversation.item.input_audio_transcription.completed","usage":{"type":"duration","seconds":1.5}}`,
		`{"type":"response.output_text.delta","delta":"cut off"}`,
	}, "\n")
	for _, size := range []int{1, 5, len(messages)} {
		got := session(&Operation{Dialect: dialectRealtime}, []byte(messages), func() int { return size })
		want := summary{"m1", "cancelled", "error", 15, 27, 5, 10, 3, true, false, false, true}
		if summarize(got) != want {
			t.Errorf("in pieces of %d:\n got %+v\nwant %+v", size, summarize(got), want)
		}
		if want := (Aside{Input: 3, Output: 4, Seconds: 1.5}); got.Usage.Aside != want || got.Usage.Total != 42 || got.Usage.AudioInput != 2 {
			t.Errorf("in pieces of %d: %+v", size, got.Usage)
		}
	}
}

func TestSessionsOfResponsesAddUpTheirTurns(t *testing.T) {
	messages := strings.Join([]string{
		`{"type":"response.created","response":{"model":"m1","status":"in_progress","error":null,"usage":null}}`,
		`{"type":"response.output_text.delta","delta":"hi"}`,
		`{"type":"response.completed","response":{"model":"m1","status":"completed","output":[{"error":{}}],"usage":{"input_tokens":5,"output_tokens":7,"total_tokens":12}}}`,
		`{"type":"error","status":429,"error":{"code":"rate_limit_exceeded","message":"slow down"}}`,
		`{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30}}}`,
	}, "\n")
	got := session(openaiResponsesSession, []byte(messages), func() int { return 100 })
	if want := (summary{"m1", "incomplete:max_output_tokens", "length", 15, 27, 0, 5, 1, true, false, false, true}); summarize(got) != want {
		t.Errorf("got %+v\nwant %+v", summarize(got), want)
	}
}

func TestLiveSessionsAddUpTheirTurns(t *testing.T) {
	messages := strings.Join([]string{
		`{"setupComplete":{}}`,
		`{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"aGk="}}]}}}`,
		`{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":5,"responseTokenCount":7,"responseTokensDetails":[{"modality":"AUDIO","tokenCount":6}]}}`,
		`{"toolCall":{"functionCalls":[{}]}}`,
		`{"serverContent":{"turnComplete":false},"usageMetadata":{"promptTokenCount":10,"responseTokenCount":20}}`,
	}, "\n")
	got := session(&Operation{Dialect: dialectLive}, []byte(messages), func() int { return 100 })
	if want := (summary{"", "turnComplete", "stop", 15, 27, 0, 5, 1, true, false, false, true}); summarize(got) != want || got.Usage.AudioOutput != 6 {
		t.Errorf("got %+v, %+v\nwant %+v", summarize(got), got.Usage, want)
	}
}

// A turn that was going by when the session ended has taken something, too.
func TestTurnThatWasCutOffIsGuessed(t *testing.T) {
	const done = `{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":12,"input_tokens":5,"output_tokens":7}}}`
	const delta = `{"type":"response.output_text.delta","delta":"word"}`
	const heard = `{"type":"conversation.item.input_audio_transcription.completed","usage":{"type":"tokens","input_tokens":3,"output_tokens":4}}`
	live := []string{
		`{"serverContent":{"modelTurn":{"parts":[{"text":"hi"}]}},"usageMetadata":{"promptTokenCount":5,"responseTokenCount":7}}`,
		`{"serverContent":{"modelTurn":{"parts":[{"text":"hi"}]}}}`,
	}
	for name, test := range map[string]struct {
		dialect  *Dialect
		messages []string
		want     [2]int64
		guessed  bool
	}{
		"between turns":          {dialectRealtime, []string{delta, delta, done}, [2]int64{5, 7}, false},
		"within the first":       {dialectRealtime, []string{delta, delta, delta}, [2]int64{0, 3}, true},
		"within the second":      {dialectRealtime, []string{delta, done, delta, delta}, [2]int64{5, 9}, true},
		"what was heard":         {dialectRealtime, []string{delta, done, delta, heard}, [2]int64{5, 7}, false},
		"Google, between turns":  {dialectLive, live[:1], [2]int64{5, 7}, false},
		"Google, within another": {dialectLive, live, [2]int64{5, 8}, true},
		"nothing was said":       {dialectLive, nil, [2]int64{}, false},
	} {
		s := NewSessionScanner(&Operation{Dialect: test.dialect})
		for _, message := range test.messages {
			s.Write([]byte(message))
			s.EndMessage()
		}
		s.GuessTurn()
		got := s.Result()
		if total := [2]int64{got.Usage.InputTotal(), got.Usage.OutputTotal()}; total != test.want || got.Estimated != test.guessed {
			t.Errorf("%s: got %v, estimated %v", name, total, got.Estimated)
		}
		s.Release()
	}
}

// The last error of a session tells of the key, unless a turn went well since.
func TestMishapOfASession(t *testing.T) {
	const (
		created = `{"type":"response.created","response":{"status":"in_progress","status_details":null,"usage":null}}`
		done    = `{"type":"response.done","response":{"status":"completed","status_details":null,"usage":{"total_tokens":12,"input_tokens":5,"output_tokens":7}}}`
		failed  = `{"type":"response.done","response":{"status":"failed","status_details":{"type":"failed","error":{"code":"insufficient_quota"}},"usage":{"total_tokens":0,"input_tokens":0,"output_tokens":0}}}`
		wrong   = `{"type":"error","error":{"type":"invalid_request_error","message":"no such item"}}`
	)
	for name, test := range map[string]struct {
		messages []string
		want     string
	}{
		"none":            {[]string{created, done}, ""},
		"an event":        {[]string{done, wrong}, wrong},
		"a response":      {[]string{wrong, created, failed}, failed},
		"all well since":  {[]string{failed, created, done}, ""},
		"the latest":      {[]string{failed, wrong}, wrong},
		"within the tool": {[]string{`{"type":"response.done","response":{"output":[{"error":{"code":"no"}}]}}`}, ""},
	} {
		s := NewSessionScanner(&Operation{Dialect: dialectRealtime})
		for _, message := range test.messages {
			s.Write([]byte(message[:20]))
			s.Write([]byte(message[20:]))
			s.EndMessage()
		}
		if got := string(s.Mishap()); got != test.want || s.Failure() != nil {
			t.Errorf("%s: got %q", name, got)
		}
		s.Release()
	}
	for message, want := range map[string]keypool.Class{failed: keypool.ClassQuota, failed[:len(failed)-20]: keypool.ClassQuota, wrong: keypool.ClassCaller} {
		if verdict := new(Request).Judge(http.StatusOK, nil, []byte(message), time.Now()); verdict.Class != want {
			t.Errorf("%s is %s", message, verdict.Class)
		}
	}
}

// The first message of a live session names the model, and nothing else does.
func TestSetupNamesTheModel(t *testing.T) {
	for message, want := range map[string]string{
		`{"setup":{"model":"models/gemini-live-2.5-flash","tools":[{"model":"x"}]}}`: "gemini-live-2.5-flash",
		`{"setup":{"model":"publishers/google/models/g"}}`:                           "g",
		`{"setup":{"model":"g"}}`:                                                    "g",
		`{"setup":{"model":7}}`:                                                      "",
		`{"setup":{"model":"models/a\u0000b"}}`:                                      "",
		`{"setup":{"model":"models/a` + "\xe4" + `"}}`:                               "",
		`{"setup":{"model":"g","model":"a\nb"}}`:                                     "",
		`{"model":"models/g"}`:                                                       "",
		`no JSON`:                                                                    "",
		`{"clientContent":{"model":"g"}}`:                                            "",
		`{"setup":{"system":"x"}}` + "\x00":                                          "",
	} {
		s := NewSetup(geminiLive)
		for _, c := range []byte(message) {
			s.Write([]byte{c})
		}
		s.EndMessage()
		s.Write([]byte(`{"setup":{"model":"models/another"}}`))
		s.EndMessage()
		if s.Model() != want {
			t.Errorf("%s: got %q, want %q", message, s.Model(), want)
		}
	}
	s := NewSetup(openaiResponsesSession)
	s.Write([]byte(`{"type":"response.create","model":"org/m","input":[{"model":"x"}]}`))
	if s.Model() != "org/m" {
		t.Errorf("got %q", s.Model())
	}
	if NewSetup(openaiRealtime) != nil {
		t.Error("OpenAI's handshake names the model")
	}
}

// FuzzSession wants the same result however the messages are cut.
func FuzzSession(f *testing.F) {
	for i, seed := range []string{
		`{"type":"response.done","response":{"status":"completed","usage":{"input_tokens":5,"output_tokens":7}}}` + "\x00" + `{"error":1}`,
		"{\n \"serverContent\": {\"turnComplete\":\ntrue}}\n\x00{]\n{\"error\":{}}\x00{\"usageMetadata\":{\"promptTokenCount\":3}}",
		`{"type":"response.output_text.delta","delta":"x"}{"type":"error","error":{}}` + "\x00\x00no JSON {\n",
	} {
		f.Add(seed, uint8(i), uint8(3), uint8(50))
	}
	ops := []*Operation{openaiRealtime, geminiLive, openaiResponsesSession}
	f.Fuzz(func(t *testing.T, messages string, op, a, b uint8) {
		read := func(size func() int) (reading, string) {
			s := NewSessionScanner(ops[int(op)%len(ops)])
			defer s.Release()
			for message := range strings.SplitSeq(messages, "\x00") {
				for rest := []byte(message); len(rest) > 0; {
					n := min(size(), len(rest))
					s.Write(rest[:n])
					rest = rest[n:]
				}
				s.EndMessage()
			}
			mishap := string(s.Mishap())
			s.GuessTurn()

			return told(s), mishap
		}
		whole, mishap := read(func() int { return max(1, len(messages)) })
		turn := 0
		cut, mishapToo := read(func() int {
			turn++
			if turn%2 == 0 {
				return int(a) + 1
			}

			return int(b) + 1
		})
		if cut != whole || mishap != mishapToo {
			t.Errorf("whole: %+v, %q\npieces: %+v, %q", whole, mishap, cut, mishapToo)
		}
	})
}
