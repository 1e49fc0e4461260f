// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

func TestErrorsOfEveryShapeAreJudged(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		amazon string
		body   string
		class  keypool.Class
	}{
		{"Bedrock throttles", 400, "ThrottlingException:http://internal.amazon.com/", `{"message":"Too many requests"}`, keypool.ClassRateLimited},
		{"Bedrock's model is not ready", 429, "ModelNotReadyException", `{"message":"wait"}`, keypool.ClassOverloaded},
		{"Bedrock's token is old", 403, "ExpiredTokenException", `{"message":"The security token included in the request is expired"}`, keypool.ClassStale},
		{"Bedrock knows no such key", 403, "UnrecognizedClientException", `{"message":"The security token included in the request is invalid."}`, keypool.ClassCredential},
		{"Bedrock denies the model", 403, "AccessDeniedException", `{"message":"You don't have access to the model with the specified model ID."}`, keypool.ClassAccess},
		{"Bedrock knows no such model", 400, "ValidationException", `{"message":"The provided model identifier is invalid."}`, keypool.ClassModel},
		{"Bedrock's context is full", 400, "ValidationException", `{"message":"Input is too long for requested model."}`, keypool.ClassContext},
		{"Bedrock's model fails", 424, "ModelErrorException", `{"message":"…"}`, keypool.ClassUpstream},
		{"AWS names it in the body", 400, "", `{"__type":"com.amazon.coral.service#ThrottlingException","message":"Rate exceeded"}`, keypool.ClassRateLimited},

		{"Azure limits", 429, "", `{"error":{"code":"429","message":"Requests to the API have exceeded call rate limit. Please retry after 26 seconds."}}`, keypool.ClassRateLimited},
		{"Azure's deployment is missing", 404, "", `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`, keypool.ClassModel},
		{"Azure's filter", 400, "", `{"error":{"code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, keypool.ClassPolicy},

		{"Cohere's token is invalid", 498, "", `{"message":"invalid token"}`, keypool.ClassCredential},
		{"Cohere's context is full", 400, "", `{"id":"x","message":"too many tokens: total number of tokens","error_type":"TOO_MANY_TOKENS"}`, keypool.ClassContext},
		{"Ollama lacks the model", 404, "", `{"error":"model 'x' not found"}`, keypool.ClassModel},
		{"DashScope limits", 429, "", `{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded","request_id":"x"}`, keypool.ClassRateLimited},
		{"DashScope refuses the key", 401, "", `{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"x"}`, keypool.ClassCredential},
		{"DashScope inspects", 400, "", `{"code":"DataInspectionFailed","message":"Input data may contain inappropriate content.","request_id":"x"}`, keypool.ClassPolicy},

		{"vLLM", 400, "", `{"object":"error","message":"This model's maximum context length is 10 tokens. However, you requested 20 tokens","type":"BadRequestError","param":null,"code":400}`, keypool.ClassContext},
		{"vLLM lacks the model", 404, "", `{"object":"error","message":"The model ` + "`x`" + ` does not exist.","type":"NotFoundError","param":null,"code":404}`, keypool.ClassModel},
		{"llama.cpp loads", 503, "", `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, keypool.ClassOverloaded},
		{"llama.cpp's context is full", 400, "", `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":4096}}`, keypool.ClassContext},
		{"TGI validates", 422, "", `Input validation error: max_new_tokens`, keypool.ClassCaller},
		{"TGI is busy", 429, "", `{"error":"Model is overloaded","error_type":"overloaded"}`, keypool.ClassOverloaded},
		{"Mistral validates", 422, "", `{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}`, keypool.ClassCaller},
		{"Mistral refuses the key", 401, "", `{"detail":"Invalid API Key"}`, keypool.ClassCredential},
		{"Together's context is full", 403, "", `{"error":{"message":"Input validation error: tokens + max_new_tokens must be <= 4096: reduce the length of the prompt","type":"invalid_request_error"}}`, keypool.ClassContext},
		{"Fireworks is unpaid", 412, "", `{"error":{"message":"Account x is suspended, possibly due to reaching the monthly spending limit"}}`, keypool.ClassQuota},
		{"Perplexity's prompt is too long", 400, "", `{"error":{"message":"too long","type":"too_many_prompt_tokens","code":400}}`, keypool.ClassContext},
		{"Cerebras limits", 429, "", `{"message":"Requests per minute limit exceeded","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}`, keypool.ClassRateLimited},
		{"LM Studio lacks the model", 404, "", `{"error":{"message":"Invalid model identifier","type":"invalid_request_error","code":"model_not_found"}}`, keypool.ClassModel},
		{"Voyage", 400, "", `{"detail":"Model x is not supported. Supported models are y"}`, keypool.ClassModel},
	} {
		header := http.Header{}
		if test.amazon != "" {
			header.Set("X-Amzn-Errortype", test.amazon)
		}
		verdict := (&Request{}).Judge(test.status, header, []byte(test.body), time.Now())
		if verdict.Class != test.class {
			t.Errorf("%s: %s (%s), want %s", test.name, verdict.Class, verdict.Detail, test.class)
		}
	}
}

func TestEncodedErrorsAreJudged(t *testing.T) {
	for name, encoder := range encoders {
		var body bytes.Buffer
		w := encoder(&body)
		io.WriteString(w, `{"error":{"code":"insufficient_quota"}}`)
		w.Close()
		verdict := (&Request{}).Judge(429, http.Header{"Content-Encoding": {name}}, body.Bytes(), time.Now())
		if verdict.Class != keypool.ClassQuota {
			t.Errorf("%s: %s", name, verdict.Class)
		}
	}
}
