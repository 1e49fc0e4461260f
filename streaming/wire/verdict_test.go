// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

var noon = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) // noon in California

// judge judges by the rules for a family that nothing is special about.
func judge(status int, h http.Header, body string) keypool.Verdict {
	family, _ := wire.Lookup("openai")

	return (&wire.Request{Family: family}).Judge(status, h, []byte(body), noon)
}

func TestProvidersWordsDecide(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   keypool.Class
		detail string
	}{
		// Keys that are rejected.
		{401, `{"error":{"type":"invalid_request_error","code":"invalid_api_key","message":"Incorrect API key provided"}}`, keypool.ClassCredential, "invalid_api_key"},
		{400, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***"}`, keypool.ClassCredential, ""},
		{400, `[{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid.","details":[{"reason":"API_KEY_INVALID"}]}}]`, keypool.ClassCredential, "API_KEY_INVALID"},
		{403, `{"error":{"code":403,"message":"Method doesn't allow unregistered callers","status":"PERMISSION_DENIED"}}`, keypool.ClassCredential, "PERMISSION_DENIED"},
		{401, `{"error":{"code":"1002","message":"Authorization Token is illegal"}}`, keypool.ClassCredential, "1002"},
		{498, `{"message":"invalid token"}`, keypool.ClassCredential, ""},
		{403, `{"message":"The security token included in the request is expired"}`, keypool.ClassStale, ""},

		// Accounts without money.
		{429, `{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"You exceeded your current quota"}}`, keypool.ClassQuota, "insufficient_quota"},
		{429, `{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"You exceeded your current quota"},"request_id":"r"}`, keypool.ClassRateLimited, "insufficient_quota"},
		{400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, keypool.ClassQuota, "invalid_request_error"},
		{429, `{"type":"error","error":{"type":"rate_limit_error","message":"…","details":{"error_code":"enforced_spend_limit_reached"}}}`, keypool.ClassQuota, "enforced_spend_limit_reached"},
		{402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}`, keypool.ClassQuota, "invalid_request_error"},
		{402, `whatever`, keypool.ClassQuota, ""},
		{401, `{"error":{"code":"account_deactivated","message":"This account has been deactivated"}}`, keypool.ClassQuota, "account_deactivated"},
		{429, `{"code":"Some resource has been exhausted","error":"Your team has either used all available credits or reached its monthly spending limit."}`, keypool.ClassQuota, ""},
		{429, `{"error":{"message":"Your account is suspended","type":"exceeded_current_quota_error"}}`, keypool.ClassQuota, "exceeded_current_quota_error"},
		{429, `{"error":{"code":"1113","message":"余额不足"}}`, keypool.ClassQuota, "1113"},
		{403, `{"code":30011,"message":"…","data":null}`, keypool.ClassQuota, "30011"},
		{429, `{"error":{"code":429,"message":"Quota exceeded for metric: m, limit: 0, model: x","status":"RESOURCE_EXHAUSTED"}}`, keypool.ClassQuota, "RESOURCE_EXHAUSTED"},
		{400, `{"code":"Arrearage","message":"Access denied"}`, keypool.ClassQuota, "Arrearage"},

		// Rates.
		{429, ``, keypool.ClassRateLimited, ""},
		{429, `{"error":{"code":429,"message":"Quota exceeded for metric: m, limit: 0.5, model: x","status":"RESOURCE_EXHAUSTED"}}`, keypool.ClassRateLimited, "RESOURCE_EXHAUSTED"},
		{429, `{"error":{"code":"1302","message":"…"}}`, keypool.ClassRateLimited, "1302"},
		{400, `{"code":"Throttling.AllocationQuota","message":"…"}`, keypool.ClassRateLimited, "Throttling.AllocationQuota"},
		{503, `{"error":{"code":"slow_down","message":"…"}}`, keypool.ClassRateLimited, "slow_down"},
		{429, `{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","code":"1300"}`, keypool.ClassRateLimited, "1300"},
		{429, `{"error":{"message":"You have been rate limited.","type":"credit_limit"}}`, keypool.ClassRateLimited, "credit_limit"},

		// A request larger than the key's window.
		{429, `{"error":{"message":"Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 30601.","code":"rate_limit_exceeded"}}`, keypool.ClassTier, "rate_limit_exceeded"},
		{413, `{"error":{"message":"Request too large for model on tokens per minute (TPM): Limit 6,000, Requested 7,000","code":"rate_limit_exceeded"}}`, keypool.ClassTier, "rate_limit_exceeded"},
		{429, `{"error":{"message":"Rate limit reached: Limit 30000, Used 29000, Requested 2000.","code":"rate_limit_exceeded"}}`, keypool.ClassRateLimited, "rate_limit_exceeded"},

		// Upstreams with too much to do.
		{529, ``, keypool.ClassOverloaded, ""},
		{429, `{"error":{"message":"The engine is currently overloaded","type":"engine_overloaded_error"}}`, keypool.ClassOverloaded, "engine_overloaded_error"},
		{429, `{"error":{"message":"Provider returned error","code":429}}`, keypool.ClassOverloaded, ""},
		{503, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`, keypool.ClassOverloaded, "UNAVAILABLE"},
		{503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, keypool.ClassOverloaded, "unavailable_error"},
		{498, `{"error":{"message":"Flex tier capacity exceeded","code":"capacity_exceeded"}}`, keypool.ClassOverloaded, "capacity_exceeded"},
		{429, `{"error":{"code":"429","message":"The system is currently experiencing high demand"}}`, keypool.ClassOverloaded, ""},

		// Upstreams at fault.
		{500, `Internal Server Error`, keypool.ClassUpstream, ""},
		{502, `<html><body>model not found, invalid api key</body></html>`, keypool.ClassUpstream, ""},
		{503, ``, keypool.ClassUpstream, ""},
		{522, ``, keypool.ClassUpstream, ""},
		{408, ``, keypool.ClassUpstream, ""},
		{409, ``, keypool.ClassUpstream, ""},

		// Rights.
		{403, ``, keypool.ClassAccess, ""},
		{403, `{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}`, keypool.ClassAccess, "SERVICE_DISABLED"},
		{403, `{"error":{"code":"model_not_found","message":"Project proj_1 does not have access to model gpt-9"}}`, keypool.ClassAccess, "model_not_found"},
		{401, `{"error":{"message":"Your IP is not authorized for this project"}}`, keypool.ClassAccess, ""},

		// Models.
		{404, `{"error":{"code":"model_not_found","message":"The model x does not exist or you do not have access to it."}}`, keypool.ClassModel, "model_not_found"},
		{404, `{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}`, keypool.ClassModel, "not_found_error"},
		{404, `{"error":"model 'x' not found"}`, keypool.ClassModel, ""},
		{400, `{"object":"error","message":"Invalid model: x","type":"invalid_model","code":"1500"}`, keypool.ClassModel, "invalid_model"},
		{400, `{"error":{"message":"Model Not Exist","code":"invalid_request_error"}}`, keypool.ClassModel, "invalid_request_error"},
		{410, `{"error":{"message":"The model x has been decommissioned"}}`, keypool.ClassModel, ""},
		{404, `{"error":{"message":"No such File object: file-1","type":"invalid_request_error"}}`, keypool.ClassCaller, "invalid_request_error"},
		{404, `<html>404</html>`, keypool.ClassCaller, ""},
		{410, ``, keypool.ClassCaller, ""},

		// The client's own faults.
		{400, `{"error":{"code":"context_length_exceeded","message":"…"}}`, keypool.ClassContext, "context_length_exceeded"},
		{400, `{"message":"too many tokens: total number of tokens","error_type":"TOO_MANY_TOKENS"}`, keypool.ClassContext, "TOO_MANY_TOKENS"},
		{403, `{"error":{"message":"This model's maximum context length is 4097 tokens"}}`, keypool.ClassContext, ""},
		{400, `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":4096}}`, keypool.ClassContext, "exceed_context_size_error"},
		{400, `{"error":{"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, keypool.ClassPolicy, "ResponsibleAIPolicyViolation"},
		{403, `{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged","metadata":{"flagged_input":"x"}}}`, keypool.ClassPolicy, ""},
		{403, `{"error":{"code":"unsupported_country_region_territory","message":"…"}}`, keypool.ClassRegion, "unsupported_country_region_territory"},
		{400, `{"error":{"message":"temperature too high"}}`, keypool.ClassCaller, ""},
		{413, ``, keypool.ClassCaller, ""},
		{422, `{"detail":[{"type":"missing","msg":"Field required","input":"invalid api key, model not found"}]}`, keypool.ClassCaller, "missing"},
		{400, `{"error":{"error":{"code":"context_length_exceeded"},"code":400}}`, keypool.ClassContext, "context_length_exceeded"},
		{400, `{"error":{"code":"tool_use_failed","type":"invalid_request_error","message":"…"}}`, keypool.ClassCaller, "tool_use_failed"},

		// Error events of a stream that began well.
		{200, ``, keypool.ClassOK, ""},
		{200, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, keypool.ClassOverloaded, "overloaded_error"},
		{200, `{"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"Please try again in 2s"}}}`, keypool.ClassRateLimited, "rate_limit_exceeded"},
		{200, `{"type":"error","code":"insufficient_quota","message":"…","param":null}`, keypool.ClassQuota, "insufficient_quota"},
		{200, `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`, keypool.ClassUpstream, "api_error"},
		{200, `{"error":{"message":"…","type":"invalid_request_error","status_code":400}}`, keypool.ClassCaller, "invalid_request_error"},
		{200, `{"error":{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}}`, keypool.ClassUpstream, "CANCELLED"},
		{200, `{"error":{"code":502,"message":"Provider disconnected"}}`, keypool.ClassUpstream, ""},
		{200, `{"error":"Input validation error","error_type":"validation"}`, keypool.ClassCaller, "validation"},
		{200, `{"error":{"code":"content_filter","status":400,"message":"…"}}`, keypool.ClassPolicy, "content_filter"},
		{302, `<html>`, keypool.ClassOK, ""},
	} {
		got := judge(test.status, nil, test.body)
		if got.Class != test.want || got.Detail != test.detail {
			t.Errorf("%d %s:\n got %s %q, want %s %q", test.status, test.body, got.Class, got.Detail, test.want, test.detail)
		}
	}
}

// A refusal that is about the request may quote it. What a client writes must
// not cost a key or an upstream anything.
func TestQuotedRequestPenalisesNothing(t *testing.T) {
	for _, quoted := range []string{
		"invalid api key", "API key not valid", "credit balance is too low", "insufficient credits", "model not found",
		"the model x does not exist", "not allowed to sample", "user location is not supported", "overloaded", "no capacity",
		"oauth token has expired", "x' incorrect api key 'y", "\\nincorrect api key", "\\n\\nmodel not exist",
		"no endpoints found", "insufficient permissions", "rate_limit_exceeded", "your organization must be verified",
	} {
		for _, status := range []int{400, 404, 413, 422} {
			for _, body := range []string{
				`{"error":{"message":"Invalid value: '` + quoted + `'.","type":"invalid_request_error","code":"invalid_value"}}`,
				`{"error":{"message":"Previous response with id '` + quoted + `' not found.","code":null}}`,
				`{"detail":"Bad value ` + quoted + `"}`,
				`{"detail":[{"type":"enum","msg":"Input should be 'a' or 'b'","input":"` + quoted + `"}]}`,
			} {
				if got := judge(status, nil, body); got.Next() != keypool.Answer || got.Scope() != keypool.ScopeNone {
					t.Errorf("%d %s: got %s", status, body, got.Class)
				}
			}
		}
	}
}

// Nor does what it calls a model, also where the message begins with that.
func TestModelsNamePenalisesNothing(t *testing.T) {
	for _, model := range []string{"Your credit balance is too low", "incorrect API key", "API key not valid", "your organization must be verified"} {
		for _, body := range []string{
			`{"error":{"message":"` + model + ` is not a valid model ID","code":400}}`,
			`{"detail":[{"msg":"` + model + ` is unknown"}]}`,
		} {
			got := (&wire.Request{Model: model}).Judge(400, http.Header{}, []byte(body), noon)
			if got.Scope() != keypool.ScopeNone {
				t.Errorf("%s: got %s", body, got.Class)
			}
		}
	}
}

// A conflict over what was stored is the client's; that of a call which may be
// sent again is the provider's.
func TestConflictOverWhatIsStoredIsTheClients(t *testing.T) {
	for operation, want := range map[*wire.Operation]keypool.Class{{}: keypool.ClassCaller, {Repeatable: true}: keypool.ClassUpstream} {
		got := (&wire.Request{Operation: operation}).Judge(409, http.Header{}, []byte(`{"error":{"message":"Cannot cancel a batch with status completed"}}`), noon)
		if got.Class != want {
			t.Errorf("repeatable %v: got %s", operation.Repeatable, got.Class)
		}
	}
}

// So is one over a request to which the client has given a name: it has sent
// another of that name, and must not cost the others their provider.
func TestConflictOverANamedRequestIsTheClients(t *testing.T) {
	const conflict = `{"error":{"message":"A request with this idempotency key is in progress","type":"conflict"}}`
	for name, want := range map[string]keypool.Class{"": keypool.ClassUpstream, "Idempotency-Key": keypool.ClassCaller, "X-Idempotency-Key": keypool.ClassCaller} {
		r, err := wire.Recognize(http.MethodPost, &url.URL{Path: "/v1/chat/completions"}, http.Header{name: {"one"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Judge(409, http.Header{}, []byte(conflict), noon); got.Class != want {
			t.Errorf("%s: got %s", name, got.Class)
		}
		if got := r.Judge(500, http.Header{}, nil, noon); got.Class != keypool.ClassUpstream {
			t.Errorf("%s, 500: got %s", name, got.Class)
		}
	}
}

func TestHeaderNamesBedrocksError(t *testing.T) {
	h := http.Header{"X-Amzn-Errortype": {"ThrottlingException:http://example.com/"}}
	if got := judge(400, h, `{"message":"Too many requests"}`); got.Class != keypool.ClassRateLimited || got.Detail != "ThrottlingException" {
		t.Errorf("got %s %q", got.Class, got.Detail)
	}
}

func TestCompressedErrorIsRead(t *testing.T) {
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	if _, err := zip.Write([]byte(`{"error":{"code":"insufficient_quota"}}`)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	h := http.Header{"Content-Encoding": {"gzip"}}
	if got := judge(429, h, body.String()); got.Class != keypool.ClassQuota {
		t.Errorf("got %s", got.Class)
	}
}

// A detail goes to logs, so it must not be a message, which may quote a key.
func TestDetailIsNeverAMessage(t *testing.T) {
	for _, body := range []string{
		`{"error":{"code":"Incorrect API key provided: sk-secret","type":"` + strings.Repeat("x", 80) + `"}}`,
		`{"error":"sk-secret"}`, `sk-secret`, `{"detail":["sk-secret"]}`, `{"message":"sk-secret"}`,
	} {
		if got := judge(401, nil, body); got.Detail != "" {
			t.Errorf("%s: detail %q", body, got.Detail)
		}
	}
}

func FuzzJudgeSurvivesAnything(f *testing.F) {
	f.Add(429, `{"error":{"message":"try again in 6m0s","details":[{"retryDelay":"3s"}]}}`, "Retry-After", "1")
	f.Add(200, `[[[{"error":[{"error":"x"}]}]]]`, "X-Ratelimit-Reset", "1e400")
	f.Add(400, "\x1f\x8b\x08", "Content-Encoding", "gzip")
	f.Fuzz(func(t *testing.T, status int, body, name, value string) {
		got := judge(status, http.Header{http.CanonicalHeaderKey(name): {value}}, body)
		if got.Wait < 0 || got.Wait > 31*24*time.Hour || len(got.Detail) > 64 {
			t.Fatalf("%+v", got)
		}
	})
}
