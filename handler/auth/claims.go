// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Claims are what an issuer says of a token and of whom it is about: names and
// their values, as JSON.
type Claims map[string]json.RawMessage

// Path leads to a claim. It has more than one name where that is within others.
type Path []string

// ParsePath reads a path as configs spell it: names with dots between them,
// such as realm_access.roles. A dot within a name is written \.
func ParsePath(text string) (Path, error) {
	var path Path
	var name strings.Builder
	for rest := text; rest != ""; rest = rest[1:] {
		switch {
		case strings.HasPrefix(rest, `\.`):
			rest = rest[1:]
			name.WriteByte('.')
		case rest[0] == '.':
			path = append(path, name.String())
			name.Reset()
		default:
			name.WriteByte(rest[0])
		}
	}
	path = append(path, name.String())
	if slices.Contains(path, "") {
		return nil, fmt.Errorf(`not the name of a claim: %q; within other claims it is written as in realm_access.roles, and a dot of the name itself is written \. there`, text)
	}
	return path, nil
}

// Find returns a claim, and whether there is one. One that is null is none.
func (c Claims) Find(path Path) (json.RawMessage, bool) {
	for i, name := range path {
		value := c[name]
		if len(value) == 0 || string(value) == "null" {
			return nil, false
		}
		if i == len(path)-1 {
			return value, true
		}
		if c = nil; json.Unmarshal(value, &c) != nil {
			return nil, false
		}
	}
	return nil, false
}

// Text returns a claim that is a text; empty if there is none.
func (c Claims) Text(path Path) string {
	var text string
	if value, ok := c.Find(path); ok && json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

// Texts returns a claim that is a list of texts, or one text that lists them.
// Without such a claim ok is false.
func (c Claims) Texts(path Path) (texts []string, ok bool, err error) {
	value, ok := c.Find(path)
	if !ok {
		return nil, false, nil
	}
	var one string
	if json.Unmarshal(value, &one) == nil {
		return SplitTexts(one), true, nil
	}
	if json.Unmarshal(value, &texts) != nil {
		return nil, true, errors.New("neither a text nor a list of texts")
	}
	return texts, true, nil
}

// SplitTexts returns the texts that one lists: between commas or vertical bars
// or, where there are none, between spaces.
func SplitTexts(list string) []string {
	if !strings.ContainsAny(list, ",|") {
		return strings.Fields(list)
	}
	var texts []string
	for text := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == '|' }) {
		if text = strings.TrimSpace(text); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// Check tells whether a token is an issuer's and meant for one of an audience,
// as far as these are asked for.
func (c Claims) Check(issuer string, audience []string) error {
	if issuer != "" && c.Text(Path{"iss"}) != issuer {
		return errIssuer
	}
	if len(audience) == 0 {
		return nil
	}
	var one string
	var meant []string
	if value, _ := c.Find(Path{"aud"}); json.Unmarshal(value, &one) == nil {
		meant = []string{one}
	} else {
		_ = json.Unmarshal(value, &meant) // nobody is meant
	}
	if !slices.ContainsFunc(meant, func(name string) bool { return slices.Contains(audience, name) }) {
		return errAudience
	}
	return nil
}

// time returns a claim that is a moment; zero if there is none. It fails if it
// is something else.
func (c Claims) time(name string) (time.Time, error) {
	value, ok := c.Find(Path{name})
	if !ok {
		return time.Time{}, nil
	}
	var seconds float64
	if err := json.Unmarshal(value, &seconds); err != nil || math.Abs(seconds) > 1<<40 {
		return time.Time{}, fmt.Errorf("the claim %q is no time", name)
	}
	return time.Unix(int64(seconds), 0), nil
}
