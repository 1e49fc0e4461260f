// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"strings"

	"github.com/coder/websocket"
)

// live is Gemini's Live API, as far as it is about text. What fails ends the
// conversation, in a Close frame.
var live = family{
	errors:      gemini.errors,
	errorBody:   geminiErrorBody,
	waitInBody:  true,
	errorEvents: func(*call, simulatedError, int) []event { return nil },
}

// converseLive answers when the client has ended its turn. Google sends JSON
// in binary messages.
func converseLive(s *session) {
	s.kind = websocket.MessageBinary
	setup, _ := (<-s.heard)["setup"].(object)
	name, ok := setup["model"].(string)
	if !ok {
		_ = s.conn.Close(websocket.StatusInvalidFramePayloadData, "Request contains an invalid argument.")
		return
	}
	s.call.model = strings.TrimPrefix(name, "models/")
	s.say(encode(object{"setupComplete": object{}}))
	for message := range s.heard {
		turn := message["clientContent"]
		if turn == nil {
			turn = message["client_content"]
		}
		said, _ := turn.(object)
		s.call.input += countWords(said["turns"])
		if said["turnComplete"] != true && said["turn_complete"] != true {
			continue
		}
		if !s.answer(liveEvents(s.call)) {
			_ = s.conn.Close(websocket.StatusInternalError, live.errors[FaultOverloaded].message)
			return
		}
	}
}

func liveEvents(c *call) []event {
	var events []event
	for _, text := range c.chunks() {
		turn := object{"role": "model", "parts": []object{{"text": text}}}
		events = append(events, event{kind: content, data: encode(object{"serverContent": object{"modelTurn": turn}})})
	}
	return append(events,
		event{kind: closing, data: encode(object{"serverContent": object{"generationComplete": true}})},
		event{kind: terminator, data: encode(object{
			"serverContent": object{"turnComplete": true},
			"usageMetadata": object{"promptTokenCount": c.input, "responseTokenCount": c.output(), "totalTokenCount": c.input + c.output()},
		})})
}
