// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report writes what was measured: as JSON, as a table, as a picture, and last
// one line for each measure.
func report(o *options, p *plan, b *bench) error {
	outcomes := make([]outcome, len(p.measures))
	for i, m := range p.measures {
		outcomes[i] = m.settle(b.samples, o.rounds)
	}
	outcomes = slices.DeleteFunc(outcomes, func(o outcome) bool { return math.IsNaN(o.ours) })

	var table strings.Builder
	for i := range p.works {
		writeTable(&table, b.samples, &p.works[i])
	}
	writeSummary(&table, outcomes)
	fmt.Print(table.String())

	results, err := json.MarshalIndent(struct {
		At         time.Time `json:"at"`
		Go         string    `json:"go"`
		Processors int       `json:"processors"`
		Args       []string  `json:"args"`
		Samples    samples   `json:"samples"`
	}{time.Now().UTC().Truncate(time.Second), runtime.Version(), runtime.NumCPU(), os.Args[1:], b.samples}, "", " ")
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	for name, content := range map[string][]byte{
		"results.json": results,
		"table.txt":    []byte(table.String()),
		"picture.svg":  picture(outcomes),
	} {
		if err := os.WriteFile(filepath.Join(o.out, name), content, 0o644); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
	return nil
}

// writeTable writes what each target did in one work: medians, and behind CPU
// how far the rounds were apart.
func writeTable(w io.Writer, s samples, work *work) {
	fmt.Fprintf(w, "\n%s: %s\n", work.name, work.about)
	var shown []string
	for _, name := range columns {
		if slices.ContainsFunc(s, func(one sample) bool { _, ok := one.Values[name]; return ok && one.Work == work.name }) {
			shown = append(shown, name)
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "target\t%s\tfailures\t\n", strings.Join(shown, "\t"))
	for _, target := range work.targets {
		fmt.Fprintf(table, "%s\t", target)
		for _, name := range shown {
			fmt.Fprintf(table, "%s\t", cell(name, s.all(work.name, target, name)))
		}
		fmt.Fprintf(table, "%s\t\n", failures(s, work.name, target))
	}
	_ = table.Flush()
}

func cell(name string, values []float64) string {
	text := figure(median(values))
	if (name == cpuCall || name == cpuEvent || name == memoryStream) && len(values) > 1 {
		text += "±" + figure(spread(values))
	}
	return text
}

// figure writes a number with about three digits, and a dash for none.
func figure(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func failures(s samples, work, target string) string {
	var total int64
	var first string
	for _, one := range s {
		if one.Work == work && one.Target == target {
			total += one.Failures
			if first == "" {
				first = one.Failure
			}
		}
	}
	if total == 0 {
		return first
	}
	return fmt.Sprintf("%d (%s)", total, first)
}

// writeSummary ends the report with one line for each measure, for people and
// programs: its name, our figure, what it is compared with, and their ratio.
func writeSummary(w io.Writer, outcomes []outcome) {
	if len(outcomes) == 0 {
		return
	}
	fmt.Fprintf(w, "\nname ours bare ratio (±spread of the ratio over the rounds; times in µs, memory in KB; added is ours less bare)\n")
	for _, o := range outcomes {
		fmt.Fprintf(w, "# %s ±%s added %s %s\n", o.name, figure(o.spread), figure(o.ours-o.base), o.unit)
	}
	for _, o := range outcomes {
		fmt.Fprintf(w, "%s %s %s %s\n", o.name, figure(o.ours), figure(o.base), figure(o.ratio))
	}
}
