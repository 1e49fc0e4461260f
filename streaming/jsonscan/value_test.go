// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

func TestEscapesAreUndone(t *testing.T) {
	for raw, want := range map[string]string{
		`plain`:                "plain",
		`\"\\\/\b\f\n\r\t`:     "\"\\/\b\f\n\r\t",
		`\u0041\u00e9\u4E16`:   "Aé世",
		`\ud83d\ude00!`:        "😀!",
		`\ud83d\u0041`:         "\ufffdA",
		`\ude00`:               "\ufffd",
		`\ud83d`:               "\ufffd",
		`\x\u00zz`:             "\ufffd\ufffd",
		`cut off \u00`:         "cut off ",
		`cut off \`:            "cut off ",
		`half a pair \ud83d\u`: "half a pair \ufffd",
	} {
		v := jsonscan.Value{Kind: jsonscan.String, Raw: []byte(raw)}
		if got := v.Text(); got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}

func TestNumbersAreReadHoweverTheyAreWritten(t *testing.T) {
	for _, test := range []struct {
		kind  jsonscan.Kind
		raw   string
		whole int64
		isInt bool
		float float64
		isNum bool
	}{
		{jsonscan.Number, "17", 17, true, 17, true},
		{jsonscan.Number, "-3", -3, true, -3, true},
		{jsonscan.Number, "17.9", 17, true, 17.9, true},
		{jsonscan.Number, "1e3", 1000, true, 1000, true},
		{jsonscan.String, "42", 42, true, 42, true},
		{jsonscan.String, "4.5", 4, true, 4.5, true},
		{jsonscan.Number, "1e30", 0, false, 1e30, true},
		{jsonscan.Number, "1e999", 0, false, 0, false},
		{jsonscan.String, "NaN", 0, false, 0, false},
		{jsonscan.String, "Inf", 0, false, 0, false},
		{jsonscan.String, "many", 0, false, 0, false},
		{jsonscan.String, "", 0, false, 0, false},
		{jsonscan.Null, "null", 0, false, 0, false},
		{jsonscan.Bool, "true", 0, false, 0, false},
	} {
		v := jsonscan.Value{Kind: test.kind, Raw: []byte(test.raw)}
		if n, ok := v.Int(); n != test.whole || ok != test.isInt {
			t.Errorf("%s: Int is %d, %t", test.raw, n, ok)
		}
		if f, ok := v.Float(); f != test.float || ok != test.isNum {
			t.Errorf("%s: Float is %g, %t", test.raw, f, ok)
		}
	}
	cut := jsonscan.Value{Kind: jsonscan.Number, Raw: []byte("123"), Truncated: true}
	if _, ok := cut.Int(); ok {
		t.Error("half a number counts as one")
	}
}

func TestNullAndTheEmptyStringAreEmpty(t *testing.T) {
	for _, test := range []struct {
		v    jsonscan.Value
		want bool
	}{
		{jsonscan.Value{Kind: jsonscan.Null, Raw: []byte("null")}, true},
		{jsonscan.Value{Kind: jsonscan.String}, true},
		{jsonscan.Value{Kind: jsonscan.String, Raw: []byte(" ")}, false},
		{jsonscan.Value{Kind: jsonscan.Number, Raw: []byte("0")}, false},
		{jsonscan.Value{Kind: jsonscan.Bool, Raw: []byte("false")}, false},
	} {
		if got := test.v.Empty(); got != test.want {
			t.Errorf("%s: %t", test.v.Raw, got)
		}
	}
}
