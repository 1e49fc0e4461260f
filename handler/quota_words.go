// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/handler/limits"
)

// limitWords names a limit in a message: "tokens per 1m", "requests per day
// for gpt-4o* of group staff".
func limitWords(e *limits.Exceeded) string {
	words := "concurrent calls"
	if e.Rule.Kind != limits.Concurrent {
		words = e.Rule.Kind.String() + " per " + e.Rule.Period.String()
	}
	if len(e.Rule.Models) > 0 {
		words += " for " + strings.Join(e.Rule.Models, ", ")
	}
	if e.Subject.Group {
		words += " of group " + e.Subject.Name
	}
	return words
}

// userLayer is the layer of a client's own limits.
var userLayer = layer{code: "user_quota_exceeded", text: text{"quota used up", "用户配额已用完"}}

var (
	allUnderWay = text{"all %s are under way", "%s 个均在进行中"}
	allUsed     = text{"all %s are used; there is room again in %s", "%s 次均已用完；%s 后可重试"}
	needAndLeft = text{"this call may take %s, and %s of %s are left; there is room for it in %s", "本次调用预计需要 %s，剩余 %s/%s；%s 后可重试"}
	askLess     = text{"; with max_tokens of at most %d it would fit now", "；将 max_tokens 降至 %d 以内即可通过"}
)

// quotaRefusal tells a client which of its limits it has met: what the call
// needs, what is left and when there is more. Input is how many tokens of the
// call are its input.
func quotaRefusal(h http.Header, e *limits.Exceeded, input int64) *refusal {
	f := userLayer.refuse(h, e.Wait)
	wait := time.Duration(f.RetrySeconds()) * time.Second
	f.Message += " (" + limitWords(e) + "): "
	amount := limitAmount(e.Rule.Kind, e.Rule.Amount)
	switch e.Rule.Kind {
	case limits.Concurrent:
		f.Message += fmt.Sprintf(allUnderWay.in(h), amount)
	case limits.Requests:
		f.Message += fmt.Sprintf(allUsed.in(h), amount, wait)
	default:
		f.Message += fmt.Sprintf(needAndLeft.in(h), limitAmount(e.Rule.Kind, e.Need), limitAmount(e.Rule.Kind, e.Left), amount, wait)
	}
	if fits := outputThatFits(e, input); fits > 0 {
		f.Message += fmt.Sprintf(askLess.in(h), fits)
	}
	return f
}

// outputThatFits returns how many tokens of output a call might ask for so that
// it keeps to a limit; 0 if none, or if that is not what the limit is about.
func outputThatFits(e *limits.Exceeded, input int64) int64 {
	switch e.Rule.Kind {
	case limits.Tokens:
		return e.Left - input
	case limits.OutputTokens:
		return e.Left
	default:
		return 0
	}
}

// limitAmount spells an amount as configs state it.
func limitAmount(kind limits.Kind, n int64) string {
	if kind == limits.Cost {
		return "$" + strconv.FormatFloat(inUnits(kind, n), 'f', -1, 64)
	}
	return strconv.FormatInt(n, 10)
}
