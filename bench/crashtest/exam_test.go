// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// verdicts are a family's verdicts by their first letters, in order; P stands
// for partial.
func verdicts(r *report, f *family) string {
	var line strings.Builder
	for _, found := range r.Results {
		if found.Family != f.name {
			continue
		}
		letter := string(found.Verdict[0])
		if found.Verdict == partial {
			letter = "P"
		}
		line.WriteString(letter)
	}
	return line.String()
}

func expect(t *testing.T, r *report, want string) {
	t.Helper()
	for _, f := range r.families {
		if got := verdicts(r, f); got != want {
			t.Errorf("%s: %s, want %s", f.name, got, want)
			for _, found := range r.Results {
				if found.Family == f.name {
					t.Logf("%d %s: %s: %s", found.Scenario, found.Title, found.Verdict, found.Reason)
				}
			}
		}
	}
}

func TestEveryScenarioCanBePassed(t *testing.T) {
	r := sit(t, newCareful, families)
	expect(t, r, strings.Repeat("p", len(scenarios)))
	for _, f := range families {
		// The refusals of 12 and 13 are no streams, and 15 is not asked.
		if line := r.summary(f); !strings.Contains(line, "16/16, not streamed") {
			t.Errorf("%s: a gateway that holds streams back is not told from one that streams", line)
		}
	}
	if !r.passed() {
		t.Error("the report does not say that all is well")
	}
}

func TestTransparentProxyPassesWhatNeedsNoHelp(t *testing.T) {
	r := sit(t, transparent, families)
	expect(t, r, "ffffff"+"P"+"ss"+"pppp"+"s"+"ff")
	if r.passed() {
		t.Error("the report says that nothing failed")
	}
	for _, f := range families {
		if line := r.summary(f); strings.Contains(line, "not streamed") {
			t.Errorf("%s: a gateway that streams is told to hold back", line)
		}
	}
}

func TestPoliteEndOfABrokenStreamFails(t *testing.T) {
	expect(t, sit(t, lying(""), families, 8, 9, 14), "fff")
}

func TestInventedEndOfABrokenStreamFails(t *testing.T) {
	finish := new(bytes.Buffer)
	for _, e := range append(chat.finish(newAnswer("x", ask{}, 1)), chat.end...) {
		finish.Write(e.bytes("\n"))
	}
	expect(t, sit(t, lying(finish.String()), []*family{chat}, 8, 9, 14), "fff")
}

func TestInventedMarkerOfABrokenStreamFails(t *testing.T) {
	expect(t, sit(t, lying("data: [DONE]\n\n"), []*family{chat}, 8, 9, 14), "fff")
}

func TestEndlessRetriesFail(t *testing.T) {
	expect(t, sit(t, stubborn, []*family{chat, gemini}, 2, 4), "ff")
}

func TestShowingALaterFailureForTheFirstFails(t *testing.T) {
	expect(t, sit(t, tactless, []*family{chat}, 14), "f")
}

func TestContinuationUnderAnotherIDIsNoWholeStream(t *testing.T) {
	expect(t, sit(t, tactless, []*family{chat}, 8), "P")
}

// TestCaddy holds the exam with the gateway as it is built, and with Caddy as
// it comes.
func TestCaddy(t *testing.T) {
	binary := os.Getenv("LLM_CADDY")
	if binary == "" || testing.Short() {
		t.Skip("LLM_CADDY names no Caddy to examine")
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"reverse_proxy", []string{"-target", "reverse_proxy"}, 1, "4/16, safe 3, partial 1, fail 8"},
		{"llm_proxy", nil, 0, "16/16"},
		{"llm_proxy without rescue", []string{"-rescue", "off"}, 0, "13/16, safe 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := run(context.Background(), append(c.args, "-caddy", binary), &out, &errs)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, f := range families {
				if !strings.Contains(out.String(), "\n"+f.name+" "+c.want+"\n") {
					t.Errorf("%s is not %s", f.name, c.want)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", &out, &errs)
			}
		})
	}
}
