// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"encoding/json"
	"slices"
	"testing"
)

func readClaims(t *testing.T, text string) Claims {
	t.Helper()
	var c Claims
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// A claim is found by its path, whether it stands alone or within others, and
// also where its name has dots.
func TestClaimsAreFoundByPath(t *testing.T) {
	c := readClaims(t, `{"sub":"a","a":{"b":{"c":"deep"}},"a.b":"dotted","https://x.y/z":{"r.s":"url"},"n":null,"l":["x"],"back\\slash":"b"}`)
	for path, want := range map[string]string{
		"sub": "a", "a.b.c": "deep", `a\.b`: "dotted", `https://x\.y/z.r\.s`: "url", `back\slash`: "b",
		"a.b": "", "a.b.c.d": "", "n": "", "n.m": "", "l": "", "none": "", "sub.x": "",
	} {
		parsed, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Text(parsed); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b"} {
		if path, err := ParsePath(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, path)
		}
	}
	if _, ok := c.Find(nil); ok {
		t.Error("no path leads somewhere")
	}
}

// What lists texts may be a list, or one text as scopes are; what is neither is
// an error, and what is not there is nothing.
func TestTextsOfAClaim(t *testing.T) {
	c := readClaims(t, `{"list":["a b","c"],"none":[],"scope":" a  b ","commas":"a b, c,,","bars":"a|b c","empty":"","n":7,"o":{"a":1},"mixed":["a",1],"null":null}`)
	for name, want := range map[string][]string{
		"list": {"a b", "c"}, "none": {}, "scope": {"a", "b"}, "commas": {"a b", "c"}, "bars": {"a", "b c"}, "empty": {},
	} {
		got, ok, err := c.Texts(Path{name})
		if !ok || err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %t, %v", name, got, ok, err)
		}
	}
	for _, name := range []string{"null", "missing"} {
		if got, ok, err := c.Texts(Path{name}); ok || err != nil || got != nil {
			t.Errorf("%s: %q, %t, %v", name, got, ok, err)
		}
	}
	for _, name := range []string{"n", "o", "mixed"} {
		if got, _, err := c.Texts(Path{name}); err == nil {
			t.Errorf("%s is taken for %q", name, got)
		}
	}
}

// Whoever a token is meant for may be one or several; nobody is not anybody.
func TestTokensForOthers(t *testing.T) {
	for text, want := range map[string]bool{
		`{"iss":"i","aud":"llm"}`:         true,
		`{"iss":"i","aud":["x","llm"]}`:   true,
		`{"iss":"j","aud":"llm"}`:         false,
		`{"aud":"llm"}`:                   false,
		`{"iss":"i","aud":"other"}`:       false,
		`{"iss":"i","aud":["llm2"]}`:      false,
		`{"iss":"i"}`:                     false,
		`{"iss":"i","aud":{"llm":"llm"}}`: false,
	} {
		if err := readClaims(t, text).Check("i", []string{"llm"}); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := readClaims(t, `{}`).Check("", nil); err != nil {
		t.Errorf("nothing is asked for: %v", err)
	}
}

// No path and no claims bring the search down.
func FuzzClaims(f *testing.F) {
	f.Add(`{"a":{"b":["c"]}}`, "a.b")
	f.Add(`{"a":"b c"}`, `a\.b`)
	f.Fuzz(func(t *testing.T, text, path string) {
		var c Claims
		if json.Unmarshal([]byte(text), &c) != nil {
			return
		}
		parsed, err := ParsePath(path)
		if err != nil {
			return
		}
		found, ok := c.Find(parsed)
		texts, listed, _ := c.Texts(parsed)
		if ok != (len(found) > 0) || listed != ok || len(texts) > len(found) {
			t.Errorf("found %s, texts %q", found, texts)
		}
	})
}
