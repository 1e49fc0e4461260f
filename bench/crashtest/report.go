// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// result is one scenario in one family.
type result struct {
	Scenario int    `json:"scenario"`
	Title    string `json:"title"`
	Family   string `json:"family"`
	finding
	// Buffered says that the gateway did not stream the answer.
	Buffered bool      `json:"buffered,omitempty"`
	Evidence *evidence `json:"evidence"`
}

// report is what a run found, scenario by scenario.
type report struct {
	Profile string    `json:"profile"`
	Gateway string    `json:"gateway"`
	Results []*result `json:"results"`

	families []*family
}

// String is the table, a line for everything that was not passed, and a line
// for each family.
func (r *report) String() string {
	var b strings.Builder
	b.WriteString(row("", "scenario", r.families, func(f *family) string { return f.name }))
	for _, s := range scenarios {
		b.WriteString(row(strconv.Itoa(s.number), s.title, r.families, func(f *family) string {
			return string(r.find(s, f).Verdict)
		}))
	}
	b.WriteString("\n")
	for _, found := range r.Results {
		if found.Verdict != pass {
			fmt.Fprintf(&b, "%d %s, %s: %s: %s\n", found.Scenario, found.Title, found.Family, found.Verdict, found.Reason)
		}
	}
	for _, f := range r.families {
		b.WriteString(r.summary(f) + "\n")
	}
	return b.String()
}

// row is a line of the table, with a cell for each family.
func row(number, title string, of []*family, cell func(*family) string) string {
	line := fmt.Sprintf("%-3s %-28s", number, title)
	for _, f := range of {
		line += fmt.Sprintf("%-11s", cell(f))
	}
	return strings.TrimRight(line, " ") + "\n"
}

// summary counts a family's verdicts: those passed, then the others there are.
func (r *report) summary(f *family) string {
	count := map[verdict]int{}
	buffered := 0
	for _, s := range scenarios {
		found := r.find(s, f)
		count[found.Verdict]++
		if found.Buffered {
			buffered++
		}
	}
	line := []string{fmt.Sprintf("%s %d/%d", f.name, count[pass], len(scenarios))}
	for _, v := range []verdict{safe, partial, fail} {
		if count[v] > 0 {
			line = append(line, fmt.Sprintf("%s %d", v, count[v]))
		}
	}
	if buffered > 0 {
		line = append(line, fmt.Sprintf("not streamed %d", buffered))
	}
	return strings.Join(line, ", ")
}

func (r *report) find(s *scenario, f *family) *result {
	for _, found := range r.Results {
		if found.Scenario == s.number && found.Family == f.name {
			return found
		}
	}
	return new(result)
}

// passed says that nothing failed.
func (r *report) passed() bool {
	for _, found := range r.Results {
		if found.Verdict == fail {
			return false
		}
	}
	return true
}

// save writes everything, evidence included, as JSON.
func (r *report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
