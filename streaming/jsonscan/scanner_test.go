// SPDX-License-Identifier: Apache-2.0

package jsonscan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/jsonscan"
)

var places = map[string]jsonscan.ID{
	"":                        1,
	"model":                   2,
	"choices.*.delta.content": 3,
	"choices.*":               4,
	"usage":                   5,
	"usage.total":             6,
	"list":                    7,
	"list.*":                  8,
	"deep.*.*.x":              9,
}

var paths = jsonscan.Compile(places)

// log writes down the visits, each on a line.
type log struct {
	visits []string
	text   []byte
}

func (l *log) Value(id jsonscan.ID, v jsonscan.Value) {
	mark := ""
	if v.Truncated {
		mark = "…"
	}
	if l.text != nil {
		whole := string(l.text[v.Start:v.End])
		if v.Kind == jsonscan.String {
			whole = strings.TrimSuffix(strings.TrimPrefix(whole, `"`), `"`)
		}
		if !strings.HasPrefix(whole, string(v.Raw)) || !v.Truncated && whole != string(v.Raw) {
			panic(fmt.Sprintf("the value %q stands at %d to %d, where the text has %q", v.Raw, v.Start, v.End, whole))
		}
	}
	l.visits = append(l.visits, fmt.Sprintf("%d=%d:%s%s", id, v.Kind, v.Raw, mark))
}

func (l *log) Open(id jsonscan.ID, kind jsonscan.Kind) {
	l.visits = append(l.visits, fmt.Sprintf("%d(%d", id, kind))
}

func (l *log) Close(id jsonscan.ID) { l.visits = append(l.visits, fmt.Sprintf("%d)", id)) }

// scan scans text in pieces of the given sizes, which are repeated.
func scan(text string, sizes ...int) (visits []string, complete, broken bool) {
	l := &log{text: []byte(text)}
	var s jsonscan.Scanner
	s.Reset(paths, l)
	rest := []byte(text)
	for i := 0; len(rest) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(rest))
		piece := slices.Clone(rest[:n])
		s.Write(piece)
		// What the scanner was given is ours to overwrite.
		clear(piece)
		rest = rest[n:]
	}
	s.End()

	return l.visits, s.Complete(), s.Broken()
}

func TestValuesAreFoundByPath(t *testing.T) {
	long := strings.Repeat("x", jsonscan.MaxValue)
	for _, test := range []struct{ name, text, want string }{
		{"scalar at the root", `17`, `1=2:17`},
		{"literals", "true false\nnull", `1=1:true 1=1:false 1=0:null`},
		{"a key", `{"model":"gpt"}`, `1(4 2=3:gpt 1)`},
		{"spaces", " {\n\"model\" :\t\"gpt\" }\r\n", `1(4 2=3:gpt 1)`},
		{"an escaped key", `{"\u006dodel":"gpt"}`, `1(4 2=3:gpt 1)`},
		{"a key escaped throughout", `{"\u006d\u006f\u0064\u0065\u006c":"gpt"}`, `1(4 2=3:gpt 1)`},
		{"no escape", `{"\\model":1,"m\"odel":2}`, `1(4 1)`},
		{"twice the same key", `{"model":"a","model":"b"}`, `1(4 2=3:a 2=3:b 1)`},
		{"escapes in a value", `{"model":"a\"b\\"}`, `1(4 2=3:a\"b\\ 1)`},
		{"not at this depth", `{"x":{"model":"a"},"choices":[{"model":"b"}]}`, `1(4 4(4 4) 1)`},
		{"not in a string", `{"x":"{\"model\":\"a\"}"}`, `1(4 1)`},
		{"array elements", `{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}`, `1(4 4(4 3=3:a 4) 4(4 3=3:b 4) 1)`},
		{"an object is no array", `{"choices":{"x":{"delta":{"content":"a"}}}}`, `1(4 1)`},
		{"an array is no object", `[{"model":"a"}]`, `1(5 1)`},
		{"a path and what is below it", `{"usage":{"total":3,"x":1},"list":[]}`, `1(4 5(4 6=2:3 5) 7(5 7) 1)`},
		{"a scalar where others have an object", `{"usage":null,"list":[1,"2",[3]]}`, `1(4 5=0:null 7(5 8=2:1 8=3:2 8(5 8) 7) 1)`},
		{"arrays in arrays", `{"deep":[[{"x":1}],[],[{"y":1,"x":2},3]]}`, `1(4 9=2:1 9=2:2 1)`},
		{"many roots", `{"model":"a"}{"model":"b"} {"model":"c"}`, `1(4 2=3:a 1) 1(4 2=3:b 1) 1(4 2=3:c 1)`},
		{"the longest value", `{"model":"` + long + `"}`, `1(4 2=3:` + long + ` 1)`},
		{"a longer value", `{"model":"` + long + `y"}`, `1(4 2=3:` + long + `… 1)`},
		{"numbers", `{"list":[-1,0.5e+7,1E9]}`, `1(4 7(5 8=2:-1 8=2:0.5e+7 8=2:1E9 7) 1)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, sizes := range [][]int{{len(test.text)}, {1}, {2}, {3, 1}, {7}} {
				visits, complete, _ := scan(test.text, sizes...)
				if got := strings.Join(visits, " "); got != test.want {
					t.Errorf("in pieces of %v: got %s, want %s", sizes, got, test.want)
				}
				if !complete {
					t.Errorf("in pieces of %v: not complete", sizes)
				}
			}
		})
	}
}

func TestWhatIsNotWholeIsNotComplete(t *testing.T) {
	const whole = `{"model":"a\"b","list":[1,2.5,true,null,{}],"usage":{"total":3}}`
	for i := range whole {
		if _, complete, _ := scan(whole[:i], 3); complete {
			t.Errorf("complete: %s", whole[:i])
		}
	}
	for _, text := range []string{"", " \n", "-", "1.", "tru", "nul", `"a`, `"a\"`, "[1", `{"a"`} {
		if _, complete, _ := scan(text, 1); complete {
			t.Errorf("complete: %q", text)
		}
	}
}

func TestWhatIsNotJSONIsBroken(t *testing.T) {
	for _, text := range []string{
		"<html>", "data: {}", "{]", "[}", "]", "}", ",", ":", `{"a" 1}`, `{"a":}`, `{"a":1,}`, "[1,]", "[,1]", `{1:2}`, `{"a":1 "b":2}`,
		"[1 2]", "truefalse", "true1", "1true", "True", "1,2", "nulll", "[tru]", "- ", "+1", ".5 ", "'a'", `{"a":1}}`, `{"a":1}]`, "{,}", "[1.]",
		strings.Repeat("[", 1_001),
	} {
		for _, size := range []int{1, len(text)} {
			if _, complete, broken := scan(text, size); complete || !broken {
				t.Errorf("%.20q in pieces of %d: complete %t, broken %t", text, size, complete, broken)
			}
		}
	}
}

func TestNestingIsFollowedToItsBound(t *testing.T) {
	text := strings.Repeat(`{"model":[`, 500) + strings.Repeat(`]}`, 500)
	if _, complete, _ := scan(text, 100); !complete {
		t.Error("not complete")
	}
}

func TestAScannerCanBeUsedAgain(t *testing.T) {
	l := &log{}
	var s jsonscan.Scanner
	for _, begun := range []string{`{"usage":{"model":"a`, `{"model":[[[`, "garbage", `"half\`, "12"} {
		s.Reset(paths, l)
		s.Write([]byte(begun))
		l.visits = nil
		s.Reset(paths, l)
		s.Write([]byte(`{"model":"b"}`))
		s.End()
		if got := strings.Join(l.visits, " "); got != "1(4 2=3:b 1)" || !s.Complete() {
			t.Errorf("after %s: got %s", begun, got)
		}
	}
}

func TestPathsThatNothingCouldMatchPanic(t *testing.T) {
	for path, id := range map[string]jsonscan.ID{
		"a": 0, ".": 1, "a..b": 1, strings.Repeat("k", 43): 1, strings.Repeat("a.", 12) + "a": 1,
	} {
		t.Run(path, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			jsonscan.Compile(map[string]jsonscan.ID{path: id})
		})
	}
}
