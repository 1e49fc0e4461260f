// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strconv"
	"strings"
)

// text is a message in the languages that clients may ask for.
type text struct{ en, zh string }

// in returns the text in the language that the client prefers: English,
// unless it would rather have Chinese.
func (t text) in(h http.Header) string {
	if prefersChinese(h.Get("Accept-Language")) {
		return t.zh
	}
	return t.en
}

// maxLanguages bounds how many languages of a header are looked at.
const maxLanguages = 16

// prefersChinese reads an Accept-Language header. Languages that are neither
// English nor Chinese don't count; of two that are wanted alike, the first is
// taken.
func prefersChinese(header string) bool {
	var best float64
	var chinese bool
	seen := 0
	for part := range strings.SplitSeq(header, ",") {
		if seen++; seen > maxLanguages {
			break
		}
		tag, weight := languageRange(part)
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if (primary == "zh" || primary == "en" || primary == "*") && weight > best {
			best, chinese = weight, primary == "zh"
		}
	}
	return chinese
}

// languageRange reads one "zh-CN;q=0.8". A weight that cannot be read is none.
func languageRange(part string) (tag string, weight float64) {
	tag, parameter, weighted := strings.Cut(part, ";")
	if !weighted {
		return strings.TrimSpace(tag), 1
	}
	q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
	if !ok {
		return strings.TrimSpace(tag), 0
	}
	weight, err := strconv.ParseFloat(q, 64)
	if err != nil {
		weight = 0
	}
	return strings.TrimSpace(tag), weight
}
