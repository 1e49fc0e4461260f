// SPDX-License-Identifier: Apache-2.0

package gosdk

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

func anthropicClient(t *testing.T, options ...option.RequestOption) anthropic.Client {
	t.Helper()
	url, key := gateway(t)
	return anthropic.NewClient(append([]option.RequestOption{option.WithBaseURL(url), option.WithAPIKey(key)}, options...)...)
}

func say(model anthropic.Model) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     model,
		MaxTokens: 100,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Tell me a story"))},
	}
}

func TestAnthropicStreamAccumulates(t *testing.T) {
	client := anthropicClient(t)
	stream := client.Messages.NewStreaming(context.Background(), say(good))
	var whole anthropic.Message
	for stream.Next() {
		if err := whole.Accumulate(stream.Current()); err != nil {
			t.Fatalf("an event does not fit: %v", err)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(whole.Content) != 1 || whole.StopReason != anthropic.StopReasonEndTurn || whole.Usage.OutputTokens != 20 {
		t.Fatalf("got %+v", whole)
	}
	checkText(t, whole.Content[0].Text)
}

func TestAnthropicErrors(t *testing.T) {
	for name, test := range map[string]struct {
		key    string
		model  anthropic.Model
		status int
		kind   string
	}{
		"wrong key":      {"wrong", good, http.StatusUnauthorized, "authentication_error"},
		"exhausted pool": {"", exhausted, http.StatusTooManyRequests, "rate_limit_error"},
	} {
		options := []option.RequestOption{option.WithMaxRetries(0)}
		if test.key != "" {
			options = append(options, option.WithAPIKey(test.key))
		}
		client := anthropicClient(t, options...)
		_, err := client.Messages.New(context.Background(), say(test.model))
		var refused *anthropic.Error
		if !errors.As(err, &refused) || refused.StatusCode != test.status || string(refused.Type()) != test.kind {
			t.Errorf("%s: got %T %v", name, err, err)
		}
	}
}

func TestAnthropicWaitsAsLongAsItIsTold(t *testing.T) {
	client := anthropicClient(t)
	since := time.Now()
	_, err := client.Messages.New(context.Background(), say(brief+"-anthropic"))
	checkWaited(t, since, err)
}
