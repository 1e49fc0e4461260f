package caddyfile_test
import ("testing";"os";"path/filepath";"strings";"fmt")
func TestZZ(t *testing.T) {
	files, _ := filepath.Glob("../testdata/adapt/error_*.caddyfiletest")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		config, exp, _ := strings.Cut(string(text), "----------\n")
		r, err := adapt(config)
		at := "ADAPT"
		if err == nil { at="LOAD"; err = validate(r) }
		fmt.Println("ZZ", at, filepath.Base(f), "|", strings.ReplaceAll(fmt.Sprint(err),"\n","\\n"), "|", strings.ReplaceAll(strings.TrimSpace(exp),"\n"," // "))
	}
}
