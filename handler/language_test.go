// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"net/http"
	"strings"
	"testing"
)

// Chinese is for those who would rather have it than English; everybody else
// gets English.
func TestMessagesComeInTheClientsLanguage(t *testing.T) {
	message := text{en: "en", zh: "zh"}
	for header, want := range map[string]string{
		"":                                  "en",
		"zh":                                "zh",
		"zh-CN,zh;q=0.9,en;q=0.8":           "zh",
		"ZH-Hant-TW":                        "zh",
		"en-US,en;q=0.9,zh;q=0.8":           "en",
		"fr, zh;q=0.3":                      "zh",
		"fr":                                "en",
		"*, zh;q=0.5":                       "en",
		"zh;q=0":                            "en",
		"zh;q=x":                            "en",
		"zh;level=1":                        "en",
		"zha":                               "en",
		strings.Repeat("fr,", 5000) + "zh":  "en",
		";;;,,,=":                           "en",
		" en ; q=0.2 , zh-Hans ; q=0.4 ":    "zh",
		"en;q=NaN, zh;q=0.1":                "zh",
		"zh;q=99999999999999999999999, en ": "zh",
	} {
		if got := message.in(http.Header{"Accept-Language": {header}}); got != want {
			t.Errorf("%.40q: got %s, want %s", header, got, want)
		}
	}
}
