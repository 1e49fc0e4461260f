// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// The statuses under which rules hold. An error event of a stream comes under
// 200 when it names no status itself.
var (
	refused  = []int{200, 400, 403, 404, 410, 413, 422}
	rejected = []int{200, 400, 401, 403, 498}
	closed   = []int{401, 403}
	unpaid   = []int{402, 403, 412, 429}
	strained = []int{424, 429, 498, 500, 502, 503, 504, 529}
)

// rules is read from the top: the first that fits holds. Those that are about
// the request come before those about the key, and those before the upstream's;
// so a more telling code is not hidden by a general one beside it.
//
// A message may quote the request. So that no client can have keys penalised
// by what it writes, rules that cost a key something read messages only under
// statuses that are not about the request, or hold them to their first words.
var rules = []rule{
	// A single request that is larger than the window of this key's tier:
	// waiting does not help, a key of a higher tier does.
	{class: keypool.ClassTier, on: []int{200, 413, 429}, and: exceedsWindow},
	// The account has money, but not for as much output as is asked for.
	{class: keypool.ClassQuota, excess: true, on: []int{200, 402, 403, 429}, texts: says(`can only afford`, `fewer max_tokens`)},
	// Files and caches belong to the key that made them. To ask for another's
	// is no fault of the key that is asked.
	{
		class: keypool.ClassCaller, on: []int{200, 403, 404},
		texts: says(`(?:file|cachedcontent|corpus|batch)\b.{0,80}or it may not exist`),
	},
	// A key may lack a scope and be good for all else.
	{class: keypool.ClassAccess, on: []int{401}, texts: says(`insufficient permissions`, `missing scopes`)},

	{
		class: keypool.ClassContext, on: refused,
		words: []string{
			"context_length_exceeded", "exceed_context_size_error", "too_many_tokens",
			"too_many_prompt_tokens", "model_context_window_exceeded", "1261",
		},
		texts: says(
			`prompt is too long`, `input is too long`, `context window`, `context length`,
			`exceed context limit`, `maximum prompt length`, `input tokens? exceed`,
			`token count.{0,40}exceeds`, `exceeds the maximum number of tokens`,
			`exceeded model token limit`, `too many (?:input |prompt )?tokens`,
			`tokens?.{0,60}exceed.{0,60}(?:context|limit of the model)`,
			`range of input length should be`, `reduce the length of the (?:messages|prompt|input)`,
		),
	},
	{
		class: keypool.ClassPolicy, on: append([]int{429, 451}, refused...),
		words: []string{
			"content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation",
			"datainspectionfailed", "data_inspection_failed", "1301",
		},
		texts: says(
			`content management policy`, `content filtering policy`, `potentially violating`, `usage guidelines`,
			`safety (?:system|filter)`, `prohibited_content`,
			`requires moderation`, `inappropriate content`, `flagged (?:by|as|for)`,
		),
	},

	{class: keypool.ClassRegion, words: []string{"unsupported_country_region_territory"}},
	{
		class: keypool.ClassRegion, on: closed,
		texts: says(
			`location is not supported`, `country, region, or territory not supported`,
			`unsupported countries`, `not available in your (?:country|region)`,
		),
	},
	{class: keypool.ClassRegion, on: []int{400}, texts: opens(`user location is not supported`)},

	// A key of which the account has no money left. DashScope spells a window
	// of tokens per minute like OpenAI's empty account.
	{class: keypool.ClassRateLimited, words: []string{"insufficient_quota"}, and: fromDashScope},
	{
		class: keypool.ClassQuota,
		words: []string{
			"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
			"project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
			"billing_not_active", "billing_disabled", "billing_error", "enforced_spend_limit_reached",
			"account_deactivated", "exceeded_current_quota_error", "servicequotaexceededexception",
			"arrearage", "accessdenied.unpurchased", "1113", "1309", "1310", "30011",
		},
	},
	{
		class: keypool.ClassQuota, on: unpaid,
		texts: says(
			`credit balance is too low`, `spend(?:ing)? limit`, `(?:specified|monthly) (?:api )?usage limit`,
			`(?:any|out of|no|more|insufficient|not enough|purchase|available|included) credits`,
			`insufficient (?:account )?balance`, `free allocated quota`, `out of call volume quota`,
			`account .{0,80}suspended`,
		),
	},
	{
		class: keypool.ClassQuota, on: []int{400},
		texts: opens(`your credit balance is too low`, `you have reached your specified api usage limit`),
	},
	// Gemini states a limit of nothing for a model that the key's plan lacks.
	{
		class: keypool.ClassQuota, on: []int{200, 429},
		words: []string{"resource_exhausted"}, and: said(`limit: 0(?:[^.\d]|\.\D|$)`),
	},

	{class: keypool.ClassStale, on: rejected, words: []string{"expiredtoken", "expiredtokenexception", "access_token_expired"}},
	{class: keypool.ClassStale, on: closed, texts: says(`token included in the request is expired`, `oauth token has expired`)},
	{
		class: keypool.ClassAccess,
		words: []string{"insufficient_permissions", "service_disabled", "iam_permission_denied", "ip_not_authorized", "1220", "1311"},
	},
	{
		class: keypool.ClassAccess, on: closed,
		texts: says(
			`not allowed to (?:sample|generate)`, `insufficient permission`, `ip (?:address )?(?:is )?not authorized`,
			`not have access to (?:the )?model`, `don't have access to the model`,
		),
	},
	{class: keypool.ClassAccess, on: []int{400, 404}, texts: opens(`your organization must be verified`)},
	{
		class: keypool.ClassCredential, on: rejected,
		words: []string{
			"api_key_invalid", "invalid_api_key", "invalidapikey", "authentication_error",
			"invalid_authentication_error", "unauthenticated", "unrecognizedclientexception",
			"invalidsignatureexception", "incompletesignatureexception", "missingauthenticationtokenexception",
			"1000", "1001", "1002", "1003", "1004", "1110", "1111", "1112", "1121",
		},
	},
	{
		class: keypool.ClassCredential, on: closed,
		texts: says(
			`(?:incorrect|invalid) api[ _-]?key`, `api key (?:not valid|expired|was reported as leaked)`,
			`unregistered callers`, `security token included in the request is invalid`,
		),
	},
	{
		class: keypool.ClassCredential, on: []int{400},
		texts: opens(`(?:incorrect|invalid) api[ _-]?key`, `api key (?:not valid|expired)`),
	},

	{
		class: keypool.ClassModel,
		words: []string{
			"model_not_found", "model_not_available", "model_decommissioned", "modelnotfound",
			"deploymentnotfound", "invalid_model", "unknown_model", "1211", "40301",
		},
	},
	{
		class: keypool.ClassModel, on: append([]int{401}, refused...),
		texts: opens(
			`(?:(?:the|this|requested|provided|publisher) )*(?:model|deployment)s?(?:/\S+)?(?: \S+)? `+
				`(?:(?:does|was|is|has|been|could) )*(?:not exist|not found|not be found|decommissioned|no longer)`,
			`model: \S+\s*$`, `model \S+ is not supported`, `not found the model`, `no endpoints found`,
			`unable to access model`, `the provided model identifier is invalid`, `\S+ is not a valid model`,
			`(?:invalid|unknown|unsupported|no such) model\b`,
		),
	},
	{class: keypool.ClassAccess, on: rejected, words: []string{"permission_error", "permission_denied", "accessdeniedexception"}},

	// An upstream that has too much to do says so under many statuses, 429
	// among them. OpenAI's "slow down" is about the client's own pace.
	{class: keypool.ClassRateLimited, words: []string{"slow_down"}},
	{
		class: keypool.ClassOverloaded, on: append([]int{200}, strained...),
		words: []string{
			"overloaded_error", "engine_overloaded_error", "engine_overloaded", "server_is_overloaded",
			"server_overloaded", "capacity_exceeded", "unavailable", "unavailable_error",
			"serviceunavailableexception", "modelnotreadyexception", "1305", "1312",
		},
	},
	{
		class: keypool.ClassOverloaded, on: strained,
		texts: says(
			`overloaded`, `capacity exceeded`, `no capacity`, `(?:at|over|insufficient|out of) capacity`,
			`experiencing (?:high|heavy) (?:demand|load|traffic)`, `loading model`, `currently loading`,
			`provider returned error`,
		),
	},
	{
		class: keypool.ClassRateLimited, on: []int{200, 400, 403, 413, 429, 500, 503},
		words: []string{
			"rate_limit*", "ratelimit*", "throttling*", "throttled*", "too_many_requests", "resource_exhausted",
			"quota_exceeded", "1300", "1302", "1303", "1304", "1308", "1313",
		},
	},

	// What remains of an error event that names no status: the client's
	// fault. All else is the upstream's.
	{
		class: keypool.ClassCaller, on: []int{200},
		words: []string{
			"invalid_request*", "invalid_argument", "invalid_prompt", "invalid_value", "invalid_type",
			"invalid_image*", "image_*", "unsupported_*", "validation*", "bad_request*", "failed_precondition",
			"out_of_range", "tool_use_failed", "request_too_large", "conflict_error",
		},
	},
}

// byStatus is what a status means by itself. Of those not named here, the ones
// from 500 on are the upstream's fault and the ones from 400 on the caller's;
// an event that names no status is the upstream's.
var byStatus = map[int]keypool.Class{
	http.StatusUnauthorized:     keypool.ClassCredential,
	http.StatusPaymentRequired:  keypool.ClassQuota,
	http.StatusForbidden:        keypool.ClassAccess,
	http.StatusRequestTimeout:   keypool.ClassUpstream,
	http.StatusConflict:         keypool.ClassUpstream,
	http.StatusFailedDependency: keypool.ClassUpstream,
	http.StatusTooEarly:         keypool.ClassUpstream,
	http.StatusTooManyRequests:  keypool.ClassRateLimited,
	498:                         keypool.ClassCredential,
	499:                         keypool.ClassUpstream,
	529:                         keypool.ClassOverloaded,
}

// says compiles alternatives that are looked for in lower-case messages.
func says(alternatives ...string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(alternatives, "|"))
}

// opens compiles alternatives with which a message has to begin.
func opens(alternatives ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(?:` + strings.Join(alternatives, "|") + `)`)
}

// said narrows a rule by what the message says besides.
func said(text string) func(*fault) bool {
	expression := says(text)

	return func(f *fault) bool { return expression.MatchString(f.text) }
}

// windowSize finds the size of a window and of the request in messages such
// as "Limit 30000, Used 0, Requested ~30601".
var windowSize = says(`limit:? ~?([\d,]+)[^\n]{0,60}?requested:? ~?([\d,]+)`)

// exceedsWindow tells whether the request asks for more than the whole window.
func exceedsWindow(f *fault) bool {
	found := windowSize.FindStringSubmatch(f.text)
	if found == nil {
		return false
	}
	limit, err := strconv.ParseInt(strings.ReplaceAll(found[1], ",", ""), 10, 64)
	if err != nil {
		return false
	}
	requested, err := strconv.ParseInt(strings.ReplaceAll(found[2], ",", ""), 10, 64)

	return err == nil && requested > limit
}

// fromDashScope tells an error of DashScope's OpenAI-compatible API: it puts a
// request id beside the error object, which OpenAI does not.
func fromDashScope(f *fault) bool { return f.numbered }
