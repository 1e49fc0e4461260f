// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"testing"
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
	}, "\n")
	for _, size := range []int{1, 5, len(messages)} {
		got := session(&Operation{Dialect: dialectRealtime}, []byte(messages), func() int { return size })
		want := summary{"m1", "cancelled", "error", 15, 27, 5, 9, 3, true, false, false, true}
		if summarize(got) != want {
			t.Errorf("in pieces of %d:\n got %+v\nwant %+v", size, summarize(got), want)
		}
		if want := (Aside{Input: 3, Output: 4, Seconds: 1.5}); got.Usage.Aside != want || got.Usage.Total != 42 || got.Usage.AudioInput != 2 {
			t.Errorf("in pieces of %d: %+v", size, got.Usage)
		}
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
