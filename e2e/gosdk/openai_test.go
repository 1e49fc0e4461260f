// SPDX-License-Identifier: Apache-2.0

package gosdk

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func openaiClient(t *testing.T, options ...option.RequestOption) openai.Client {
	t.Helper()
	url, key := gateway(t)
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(url + "/v1"), option.WithAPIKey(key)}, options...)...)
}

func ask(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:         model,
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Tell me a story")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
}

func TestOpenAIStreamAccumulates(t *testing.T) {
	client := openaiClient(t)
	stream := client.Chat.Completions.NewStreaming(context.Background(), ask(good))
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		if !whole.AddChunk(stream.Current()) {
			t.Fatalf("a chunk does not fit: %+v", stream.Current())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(whole.Choices) != 1 || whole.Choices[0].FinishReason != "stop" || whole.Usage.CompletionTokens != 20 {
		t.Fatalf("got %+v", whole.ChatCompletion)
	}
	checkText(t, whole.Choices[0].Message.Content)
}

func TestOpenAIErrors(t *testing.T) {
	for name, test := range map[string]struct {
		key, model string
		status     int
		code       string
	}{
		"wrong key":      {"wrong", good, http.StatusUnauthorized, "invalid_api_key"},
		"exhausted pool": {"", exhausted, http.StatusTooManyRequests, "rate_limit_exceeded"},
	} {
		options := []option.RequestOption{option.WithMaxRetries(0)}
		if test.key != "" {
			options = append(options, option.WithAPIKey(test.key))
		}
		client := openaiClient(t, options...)
		_, err := client.Chat.Completions.New(context.Background(), ask(test.model))
		var refused *openai.Error
		if !errors.As(err, &refused) || refused.StatusCode != test.status || refused.Code != test.code {
			t.Errorf("%s: got %T %v", name, err, err)
			continue
		}
		if waits := refused.Response.Header.Get("Retry-After") != ""; waits != (test.status == http.StatusTooManyRequests) {
			t.Errorf("%s: a wait is stated: %t", name, waits)
		}
	}
}

func TestOpenAIWaitsAsLongAsItIsTold(t *testing.T) {
	client := openaiClient(t)
	since := time.Now()
	_, err := client.Chat.Completions.New(context.Background(), ask(brief+"-openai"))
	checkWaited(t, since, err)
}
