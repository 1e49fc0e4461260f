// SPDX-License-Identifier: Apache-2.0

package llmproxy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// codePlaces are where the code of an error stands that a client may be told:
// which argument of a function, or which field of a type.
var codePlaces = map[string]struct {
	at   int
	name string
}{
	"refuse": {1, ""}, "badRequest": {0, ""}, "RequestError": {1, "Code"}, "Error": {1, "Code"}, "layer": {0, "code"},
}

// Every code that a client may be told is explained, and no other.
func TestEveryCodeIsDocumented(t *testing.T) {
	codes := codesOf(t, "handler", "streaming")
	text, err := os.ReadFile("docs/reference/logs-and-errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## What clients are told")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| [0-9–]+ \| ([^|]*)\|`).FindAllStringSubmatch(section, -1) {
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
			documented[code[1]] = true
		}
	}
	if len(codes) < 30 {
		t.Fatalf("only %d codes were found in the source: %v", len(codes), codes)
	}
	for code, where := range codes {
		if !documented[code] {
			t.Errorf("%s: the code %s is not in the table of docs/reference/logs-and-errors.md", where, code)
		}
	}
	for code := range documented {
		if codes[code] == "" {
			t.Errorf("docs/reference/logs-and-errors.md: no error has the code %s", code)
		}
	}
}

// codesOf returns the codes in the source of some rooms, each with a file where
// it stands. The simulator's are a provider's.
func codesOf(t *testing.T, rooms ...string) map[string]string {
	t.Helper()
	codes := map[string]string{}
	for _, room := range rooms {
		err := filepath.WalkDir(room, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && entry.Name() == "simulator" {
				return fs.SkipDir
			}
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if code := codeIn(n); code != "" {
					codes[code] = name
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return codes
}

// codeIn returns the code that stands in a call or a literal; "" if none does.
func codeIn(n ast.Node) string {
	var called ast.Expr
	var args []ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		called, args = n.Fun, n.Args
	case *ast.CompositeLit:
		called, args = n.Type, n.Elts
	default:
		return ""
	}
	if qualified, ok := called.(*ast.SelectorExpr); ok {
		called = qualified.Sel
	}
	name, ok := called.(*ast.Ident)
	if !ok {
		return ""
	}
	place, ok := codePlaces[name.Name]
	if !ok {
		return ""
	}
	for i, arg := range args {
		field, named := arg.(*ast.KeyValueExpr)
		if key, ok := keyOf(field); named && (!ok || key != place.name) || !named && i != place.at {
			continue
		} else if named {
			arg = field.Value
		}
		if literal, ok := arg.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			code, _ := strconv.Unquote(literal.Value)
			return code
		}
	}
	return ""
}

func keyOf(field *ast.KeyValueExpr) (string, bool) {
	if field == nil {
		return "", false
	}
	key, ok := field.Key.(*ast.Ident)
	if !ok {
		return "", false
	}
	return key.Name, true
}
